"""Killed anywhere around an effect, a run does it once, or says that nobody knows."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from nearfar.graphs.runtime.reconciling import in_doubt
from nearfar.settings import Settings

from .far_side import FarSide

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks its children")

ROOT = Path(__file__).parents[3]
POINTS = [
    "reserve:before",
    "reserve:after",
    "_ask:before",
    "_ask:after",
    "finish:before",
    "finish:after",
]
SIGKILL = 9


class Children:
    """One warmed process that forks a child for each task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.graphs.runtime.effect_children"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait(30)

    def run(
        self,
        url: str,
        home: Path,
        graph: str = "blind_graph",
        *,
        run_id: str | None = None,
        what: str = "it",
        die_at: str = "",
        nth: int = 1,
        die_after_s: float = 0.0,
    ) -> tuple[str | None, dict[str, Any] | None]:
        """The run's id, and how it stands; None when the child was killed before."""
        self._count += 1
        note, answer = (self._folder / f"{kind}{self._count}" for kind in ("note", "answer"))
        task = {
            "environ": {"NEARFAR_HOME": str(home), "FAR_SIDE": url},
            "graph": graph,
            "run_id": run_id,
            "what": what,
            "die_at": die_at,
            "nth": nth,
            "die_after_s": die_after_s,
            "note": str(note),
            "answer": str(answer),
        }
        stdin = _pipe(self._process.stdin)
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        ended = json.loads(_pipe(self._process.stdout).readline())
        assert ended["signal"] in (0, SIGKILL)
        assert bool(ended["signal"]) != answer.exists()
        accepted = note.read_text(encoding="utf-8") if note.exists() else run_id
        return accepted, json.loads(answer.read_text()) if answer.exists() else None


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    made = Children(tmp_path_factory.mktemp("children"))
    yield made
    made.close()


def killed_and_taken_over(
    children: Children, far: FarSide, home: Path, graph: str, point: str, *, nth: int = 1
) -> dict[str, Any]:
    with far.served() as url:
        run_id, told = children.run(url, home, graph, die_at=point, nth=nth)
        assert told is None, "the child was not killed"
        _, told = children.run(url, home, graph, run_id=run_id)
    assert told is not None
    return told


@pytest.mark.parametrize("point", POINTS)
def test_once_where_the_far_side_honours_the_key(
    children: Children, tmp_path: Path, point: str
) -> None:
    far = FarSide(honours=True)
    told = killed_and_taken_over(children, far, tmp_path, "honoured_graph", point)
    assert told["status"] == "succeeded"
    assert told["output"]["receipts"] == ["before", "receipt 1", "after"]
    assert far.done == ["it"]


@pytest.mark.parametrize("point", POINTS)
def test_once_or_in_reconcile_where_it_does_not(
    children: Children, tmp_path: Path, point: str
) -> None:
    far = FarSide(honours=False)
    told = killed_and_taken_over(children, far, tmp_path, "blind_graph", point)
    assert far.requests <= 1
    if point in ("reserve:before", "finish:after"):
        assert told["status"] == "succeeded"
        assert far.done == ["it"]
    else:
        assert told["status"] == "reconcile"
        settings = Settings.model_validate(
            {"storage": {"url": f"sqlite:///{(tmp_path / 'nearfar.db').as_posix()}"}}
        )
        [effect] = in_doubt(settings, told["run_id"])
        assert (effect.name, effect.step, effect.arguments) == ("blind", "step", '{"what": "it"}')


@pytest.mark.parametrize("graph", ["findable_graph", "nested_graph"])
@pytest.mark.parametrize("point", POINTS)
def test_once_where_the_outcome_can_be_found_out(
    children: Children, tmp_path: Path, point: str, graph: str
) -> None:
    far = FarSide(honours=False)
    told = killed_and_taken_over(children, far, tmp_path, graph, point)
    assert told["status"] == "succeeded"
    assert far.done == ["it"]


@pytest.mark.parametrize("graph", ["fan_out_honoured", "fan_out_blind"])
def test_the_other_branches_do_not_repeat_theirs(
    children: Children, tmp_path: Path, graph: str
) -> None:
    far = FarSide(honours=graph == "fan_out_honoured")
    told = killed_and_taken_over(children, far, tmp_path, graph, "finish:before", nth=2)
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
    children: Children, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(11)
    for number in range(kills):
        far = FarSide(honours=number % 2 == 0)
        graph = "fan_out_honoured" if far.honours else "fan_out_blind"
        home = tmp_path / str(number)
        home.mkdir()
        with far.served() as url:
            run_id, told = children.run(url, home, graph, die_after_s=chance.uniform(0.005, 0.2))
            _, told = children.run(url, home, graph, run_id=run_id)
        assert told is not None
        assert len(far.done) == len(set(far.done))
        if far.honours:
            assert told["status"] == "succeeded"
        if told["status"] == "succeeded":
            assert sorted(far.done) == ["it0", "it1", "it2", "it3"]
        else:
            assert told["status"] == "reconcile"
