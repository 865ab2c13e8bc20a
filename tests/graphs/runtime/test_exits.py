"""A step that ends the program, or raises what nobody catches, fails its run and no other."""

from pathlib import Path

import pytest

from nearfar import Runner
from nearfar.errors import WorkflowFailedError

FLOW = """
import asyncio
import sys
from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    question: str
    answer: str


class Stubborn(BaseException):
    pass


def leaves(state):
    sys.exit(7)


async def leaves_later(state):
    await asyncio.sleep(0)
    sys.exit(7)


async def leaves_below(state):
    await asyncio.gather(leaves_later(state))


def refuses(state):
    raise Stubborn("no")


def answers(state):
    return {"answer": state["question"].upper()}


def one(step):
    return StateGraph(State).add_node("step", step).add_edge(START, "step").compile()


left, later, below, stubborn, fine = map(one, [leaves, leaves_later, leaves_below, refuses, answers])
"""


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("left", "it tried to end the program (exit code 7)", "SystemExit"),
        ("later", "it tried to end the program (exit code 7)", "SystemExit"),
        ("below", "it tried to end the program (exit code 7)", "SystemExit"),
        ("stubborn", "Stubborn: no", "Stubborn"),
    ],
)
async def test_the_run_fails_at_its_step_and_the_program_goes_on(
    name: str, said: str, kind: str, tmp_path: Path
) -> None:
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW, encoding="utf-8")
    async with Runner() as runner:
        failing = await runner.start(f"{flow}:{name}", {"question": "x"})
        with pytest.raises(WorkflowFailedError) as caught:
            await failing.result()
        assert f"The step 'step' failed: {said}" in caught.value.message
        assert caught.value.data["type"] == kind
        after = await runner.start(f"{flow}:fine", {"question": "x"})
        assert (await after.result())["answer"] == "X"
