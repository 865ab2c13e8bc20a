"""cascade: the near node where its outcome passes, the far one once where it does not."""

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

import nearfar
from nearfar.errors import BudgetExhaustedError, LeaseLostError
from nearfar.graphs import cascade
from nearfar.graphs.cascades import all_of, at_least, cites, fits, passes, report
from nearfar.testing import ScriptedChatModel


class State(TypedDict, total=False):
    text: str
    amount: Any


def near(state: State) -> dict[str, Any]:
    return {"amount": int(state["text"]) if state["text"].isdigit() else state["text"]}


class Counted:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, state: State) -> dict[str, Any]:
        self.asked.append(state["text"])
        return {"amount": 7}


IS_NUMBER = fits({"type": "integer"}, key="amount")


async def test_only_what_fails_the_check_goes_on_and_only_once() -> None:
    far = Counted()
    node = cascade(near, IS_NUMBER, far, name="amounts")
    graph = StateGraph(State).add_node("amount", node).add_edge(START, "amount").compile()
    got = [(await graph.ainvoke({"text": text}))["amount"] for text in ("1", "two", "3")]
    assert got == [1, 7, 3]
    assert graph.invoke({"text": "four"})["amount"] == 7
    assert far.asked == ["two", "four"]
    [told] = report()
    assert told["cascade"] == "amounts"
    assert (told["items"], told["escalated"]) == (4, 2)
    assert (told["near_passed"], told["passed"], told["usd"]) == (0.5, 1.0, 0.0)
    assert told["reasons"] == {"it is not JSON": 2}


def test_a_near_node_that_raises_has_not_passed() -> None:
    def broken(state: State) -> dict[str, Any]:
        raise ValueError("cannot read it")

    node = cascade(broken, IS_NUMBER, Counted(), name="broken")
    assert node.invoke({"text": "x"}) == {"amount": 7}
    assert report()[0]["reasons"] == {"ValueError: cannot read it": 1}


def test_a_check_that_raises_has_not_passed_and_loses_no_outcome_that_was_paid_for() -> None:
    def check(outcome: Any, least: int = 3) -> bool:
        return bool(outcome["missing"] >= least)

    far = Counted()
    node = cascade(near, check, far, name="odd")
    assert node.invoke({"text": "1"}) == {"amount": 7}
    assert far.asked == ["1"]
    [told] = report()
    assert (told["passed"], told["reasons"]) == (0.0, {"KeyError: 'missing'": 1})


@pytest.mark.parametrize("error", [BudgetExhaustedError("no money"), LeaseLostError("taken over")])
def test_what_stops_the_whole_run_is_not_asked_again_elsewhere(error: Exception) -> None:
    def broken(state: State) -> dict[str, Any]:
        raise error

    far = Counted()
    with pytest.raises(type(error)):
        cascade(broken, IS_NUMBER, far).invoke({"text": "x"})
    assert far.asked == []


def test_what_the_far_one_says_is_taken_and_its_failing_recorded() -> None:
    node = cascade(near, IS_NUMBER, lambda _: {"amount": "many"}, name="weak")
    assert node.invoke({"text": "x"}) == {"amount": "many"}
    assert report()[0]["passed"] == 0.0


def test_models_are_nodes_and_unknown_prices_are_not_zero() -> None:
    cheap, good = ScriptedChatModel(["rubbish"]), ScriptedChatModel(['{"a": 1}'])
    node = cascade(cheap, fits({"type": "object", "required": ["a"]}), good, name="json")
    assert node.invoke("give me JSON").content == '{"a": 1}'
    assert report()[0]["usd"] is None


class Item(BaseModel):
    name: str
    price: float


def is_short(outcome: str) -> None:
    assert len(outcome) < 3, f"{outcome} is too long"


@pytest.mark.parametrize(
    ("check", "args", "said"),
    [
        (fits(Item), ('{"name": "x", "price": 1}',), None),
        (fits(Item), ('{"name": "x"}',), "price: Field required"),
        (fits(Item), ("x",), "it is not JSON"),
        (fits(Item), ('{"name": "x", "price": NaN}',), "it is not JSON"),
        (cites("text", "quotes"), ({"text": "a  b c"}, {"quotes": ["a b"]}), None),
        (cites("text", "quotes"), ({"text": "a"}, {"quotes": ["z"]}), "a quote is not in the text"),
        (at_least(len, 3), ("ab",), "its score is 2, less than 3"),
        (passes(is_short), ("ab",), None),
        (passes(is_short), ("abcd",), "abcd is too long"),
        (all_of(at_least(len, 1), fits({"type": "object"})), ("", "[]"), "[] is not of type"),
    ],
)
def test_the_ready_made_checks_give_their_reason(check: Any, args: Any, said: Any) -> None:
    found = check(*args)
    assert found == said or said in found


def test_the_settings_say_where_it_is_noted() -> None:
    assert report(nearfar.load_settings()) == []
