"""Killed anywhere around an effect, a run does it once, or says that nobody knows."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from nearfar.graphs.runtime.reconciling import in_doubt
from nearfar.settings import Settings

from .children import Children
from .far_side import FarSide

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks its children")

POINTS = [
    "reserve:before",
    "reserve:after",
    "_ask:before",
    "_ask:after",
    "finish:before",
    "finish:after",
]
BOTH = ["children", pytest.param("distant", marks=pytest.mark.long)]


def killed_and_taken_over(
    children: Children, far: FarSide, home: Path, graph: str, **death: Any
) -> dict[str, Any]:
    with far.served() as url:
        environ = {"FAR_SIDE": url}
        told = children.run(home, "effect", graph=graph, environ=environ, **death)
        assert told is None or "die_after_s" in death, "the child was not killed"
        told = children.run(home, "effect", graph=graph, environ=environ)
    assert told is not None
    return told


@pytest.mark.parametrize("point", POINTS)
def test_once_where_the_far_side_honours_the_key(
    either: Children, tmp_path: Path, point: str
) -> None:
    far = FarSide(honours=True)
    told = killed_and_taken_over(either, far, tmp_path, "honoured_graph", die_at=point)
    assert told["status"] == "succeeded"
    assert told["output"]["receipts"] == ["before", "receipt 1", "after"]
    assert far.done == ["it"]


@pytest.mark.parametrize("point", POINTS)
def test_once_or_in_reconcile_where_it_does_not(
    either: Children, tmp_path: Path, point: str
) -> None:
    far = FarSide(honours=False)
    told = killed_and_taken_over(either, far, tmp_path, "blind_graph", die_at=point)
    assert far.requests <= 1
    if point in ("reserve:before", "finish:after"):
        assert told["status"] == "succeeded"
        assert far.done == ["it"]
    else:
        assert told["status"] == "reconcile"
        settings = Settings.model_validate({"storage": {"url": either.url(tmp_path)}})
        [effect] = in_doubt(settings, told["run_id"])
        assert (effect.name, effect.step, effect.arguments) == ("blind", "step", '{"what": "it"}')


@pytest.mark.parametrize("either", BOTH, indirect=True)
@pytest.mark.parametrize("graph", ["findable_graph", "nested_graph"])
@pytest.mark.parametrize("point", POINTS)
def test_once_where_the_outcome_can_be_found_out(
    either: Children, tmp_path: Path, point: str, graph: str
) -> None:
    far = FarSide(honours=False)
    told = killed_and_taken_over(either, far, tmp_path, graph, die_at=point)
    assert told["status"] == "succeeded"
    assert far.done == ["it"]


@pytest.mark.parametrize("either", BOTH, indirect=True)
@pytest.mark.parametrize("graph", ["fan_out_honoured", "fan_out_blind"])
def test_the_other_branches_do_not_repeat_theirs(
    either: Children, tmp_path: Path, graph: str
) -> None:
    far = FarSide(honours=graph == "fan_out_honoured")
    told = killed_and_taken_over(either, far, tmp_path, graph, die_at="finish:before", nth=2)
    assert sorted(far.done) == sorted(set(far.done))
    if far.honours:
        assert told["status"] == "succeeded"
        assert sorted(far.done) == ["it0", "it1", "it2", "it3"]
    else:
        assert told["status"] == "reconcile"


@pytest.mark.parametrize(
    "kills", [2, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_kills_at_any_moment_do_nothing_twice_unseen(
    either: Children, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(11)
    for number in range(kills):
        far = FarSide(honours=number % 2 == 0)
        graph = "fan_out_honoured" if far.honours else "fan_out_blind"
        home = tmp_path / str(number)
        after_s = chance.uniform(0.005, 0.2)
        told = killed_and_taken_over(either, far, home, graph, die_after_s=after_s)
        assert len(far.done) == len(set(far.done))
        if far.honours:
            assert told["status"] == "succeeded"
        if told["status"] == "succeeded":
            assert sorted(far.done) == ["it0", "it1", "it2", "it3"]
        else:
            assert told["status"] == "reconcile"
