"""Killed at any moment, and at each boundary of what is kept: nothing is lost, wrong or done again."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from .children import Children
from .kill_flow import TRAILS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork a process")

LONG = [pytest.mark.long, pytest.mark.timeout(1200)]


def log_of(home: Path) -> list[str]:
    return (home / "log").read_text(encoding="utf-8").splitlines()


def done_again(home: Path) -> list[str]:
    """Tasks that began after their results were kept."""
    kept: set[str] = set()
    again = []
    for line in log_of(home):
        kind, _, task = line.partition(" ")
        if kind == "kept":
            kept.add(task)
        elif kind == "began" and task in kept:
            again.append(task)
    return again


def check(told: dict[str, Any] | None, graph: str, home: Path) -> None:
    assert told is not None
    assert told["status"] == "succeeded", told["error"]
    assert told["output"]["trail"] == TRAILS[graph]
    if graph == "asks":
        assert told["output"]["answer"] == "first+second"
    if graph == "stops":
        asked = {line for line in log_of(home) if line.startswith("asked")}
        assert asked == {"asked {'next': ['b']}", "asked {'next': ['c']}"}
    assert told["runs"] == 1
    assert done_again(home) == []


@pytest.mark.parametrize("most", [2, pytest.param(10_000, marks=LONG)])
@pytest.mark.parametrize("graph", list(TRAILS))
def test_a_kill_before_or_after_a_write_loses_and_repeats_nothing(
    children: Children, tmp_path: Path, graph: str, most: int
) -> None:
    kill_at_boundaries(children, tmp_path, graph, most)


@pytest.mark.parametrize("most", [1, pytest.param(10_000, marks=LONG)])
@pytest.mark.parametrize("graph", list(TRAILS))
def test_a_kill_before_or_after_a_write_to_postgres_loses_and_repeats_nothing(
    distant: Children, tmp_path: Path, graph: str, most: int
) -> None:
    kill_at_boundaries(distant, tmp_path, graph, most)


def kill_at_boundaries(children: Children, tmp_path: Path, graph: str, most: int) -> None:
    told = children.run(tmp_path / "whole", "one", graph=graph)
    check(told, graph, tmp_path / "whole")
    assert told is not None
    assert told["boundaries"] > 12
    moments = list(range(1, told["boundaries"] + 1))
    random.Random(7).shuffle(moments)
    for moment in moments[:most]:
        home = tmp_path / str(moment)
        assert children.run(home, "one", graph=graph, die_at=moment) is None
        check(children.run(home, "one", graph=graph), graph, home)


@pytest.mark.parametrize(("kills", "runs"), [(3, 8), pytest.param(100, 200, marks=LONG)])
def test_kills_at_random_moments_lose_nothing_in_postgres(
    distant: Children, tmp_path: Path, kills: int, runs: int
) -> None:
    kill_at_random(distant, tmp_path, kills, runs)


@pytest.mark.parametrize(("kills", "runs"), [(10, 20), pytest.param(100, 200, marks=LONG)])
def test_kills_at_random_moments_lose_no_run_and_repeat_no_step(
    children: Children, tmp_path: Path, kills: int, runs: int
) -> None:
    kill_at_random(children, tmp_path, kills, runs)


def kill_at_random(children: Children, tmp_path: Path, kills: int, runs: int) -> None:
    chance = random.Random(5)
    for number in range(1, kills + 1):
        begun = -(-runs * number // kills)
        children.run(tmp_path, "many", runs=begun, die_after_s=chance.uniform(0.03, 0.4))
    told = children.run(tmp_path, "many", runs=runs)
    assert told is not None
    graphs = [graph for graph in TRAILS if graph not in ("asks", "stops")]
    assert told["runs"] == runs
    for number, output in enumerate(told["outputs"]):
        assert output["number"] == number
        assert output["trail"] == TRAILS[graphs[number % 4]]
    assert done_again(tmp_path) == []


def test_a_run_that_kills_its_program_again_and_again_is_set_aside(
    either: Children, tmp_path: Path
) -> None:
    for _ in range(5):
        assert either.run(tmp_path, "one", graph="dies") is None
    told = either.run(tmp_path, "one", graph="dies")
    assert told is not None
    assert told["status"] == "failed"
    assert told["error"]["code"] == "NF-511"
    assert either.run(tmp_path, "many", runs=2) is not None
