"""However a run's steps end it, the journal says what is true of it afterwards."""

from pathlib import Path

import pytest

import nearfar
from nearfar.errors import EffectUnknownError, WorkflowFailedError
from nearfar.graphs.runtime.execution import _comes_from_doubt
from nearfar.graphs.runtime.reconciling import settle
from nearfar.storage.effects import Done

FLOW = """
import operator
import sys
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph

import nearfar


class State(TypedDict, total=False):
    trail: Annotated[list[str], operator.add]


@nearfar.effect()
def send() -> str:
    raise RuntimeError("the answer was lost")


def swallows(state):
    try:
        send()
    except Exception:
        return {"trail": ["never mind"]}


def disguises(state):
    try:
        send()
    except Exception as error:
        raise ValueError("something else") from error


def stops(state):
    sys.exit(3)


async def stops_async(state):
    sys.exit("enough")


def goes_on(state):
    return {"trail": ["on"]}


def beside(*steps):
    builder = StateGraph(State)
    for step in steps:
        builder.add_node(step).add_edge(START, step.__name__)
    return builder.compile()


swallowed = beside(swallows)
disguised = beside(disguises)
alone = beside(stops)
parallel = beside(stops_async, goes_on)
nested = StateGraph(State).add_node("inner", parallel).add_edge(START, "inner").compile()
fine = beside(goes_on)
"""

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(FLOW, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["swallowed", "disguised"])
async def test_a_run_with_an_effect_in_doubt_is_in_reconcile_whatever_its_step_caught(
    flow: str, name: str
) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:{name}", {"trail": []})
        with pytest.raises(EffectUnknownError, match="Nobody knows whether send"):
            await run.result()
        assert await run.status() == "reconcile"
        again = await runner.resume(run.id)  # nothing is known yet
        await again.settled()
        assert await run.status() == "reconcile"
        again = await settle(runner, run.id, Done("by mail"))
        assert (await again.settled()).status == "succeeded"


@pytest.mark.parametrize(
    ("name", "step", "code"),
    [("alone", "stops", "3"), ("parallel", "stops_async", "enough"), ("nested", "stops_async", "")],
)
async def test_a_step_that_exits_fails_its_run_and_no_other(
    flow: str, name: str, step: str, code: str
) -> None:
    async with nearfar.Runner() as runner:
        run = await runner.start(f"{flow}:{name}", {"trail": []})
        with pytest.raises(
            WorkflowFailedError, match=f"'{step}' failed: it tried to end the program .*{code}"
        ):
            await run.result()
        assert await run.status() == "failed"
        other = await runner.start(f"{flow}:fine", {"trail": []})
        assert await other.result() == {"trail": ["on"]}


def test_causes_that_lead_back_to_each_other_have_an_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    assert not _comes_from_doubt(first)
