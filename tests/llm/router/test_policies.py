"""The order in which candidates are tried."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from nearfar.errors import ConfigurationError
from nearfar.llm import chat_model
from nearfar.llm.money import Price
from nearfar.llm.router import Candidate, Request, Router
from nearfar.llm.router.finding import find_policy
from nearfar.llm.router.policies import POLICIES, RoundRobin, Split
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel

REQUEST = Request([HumanMessage("a prompt of a few words")])


def three(**fields: list[Any]) -> list[Candidate]:
    found = [Candidate(name, ScriptedChatModel([])) for name in "abc"]
    for key, values in fields.items():
        for one, value in zip(found, values, strict=True):
            setattr(one, key, value)
    return found


def order(policy: str, candidates: list[Candidate]) -> str:
    return "".join(c.name for c in find_policy(policy)(REQUEST, candidates))


@pytest.mark.parametrize(
    ("policy", "fields", "expected"),
    [
        ("priority", {}, "abc"),
        ("latency", {"first_token_s": [0.9, 0.1, 0.5]}, "bca"),
        ("latency", {"first_token_s": [0.9, None, 0.5]}, "bca"),
        ("least_busy", {"active": [2, 0, 1]}, "bca"),
        ("near_first", {"local": [False, False, True]}, "cab"),
        (
            "cost",
            {"price": [Price(Decimal(3), Decimal(9)), None, Price(Decimal(1), Decimal(2))]},
            "cab",
        ),
        (
            "cost",
            {"local": [False, False, True], "price": [Price(Decimal(1), Decimal(1))] * 3},
            "cab",
        ),
    ],
)
def test_a_policy_orders(policy: str, fields: dict[str, list[Any]], expected: str) -> None:
    assert order(policy, three(**fields)) == expected


def test_cost_weighs_the_prompt_against_the_reply() -> None:
    dear_to_read = Price(Decimal(10), Decimal(1))
    dear_to_write = Price(Decimal(1), Decimal(10))
    candidates = three(price=[dear_to_read, dear_to_write, None])
    cost = POLICIES["cost"]()
    long = Request([HumanMessage("word " * 2000)])
    assert [c.name for c in cost(long, candidates)] == ["b", "a", "c"]
    assert [c.name for c in cost(REQUEST, candidates)] == ["a", "b", "c"]


def test_round_robin_gives_each_its_turn() -> None:
    policy, candidates = RoundRobin(), three()
    assert [policy(REQUEST, candidates)[0].name for _ in range(6)] == list("abcabc")


def test_a_split_shares_out_by_weight() -> None:
    policy, candidates = Split({"a": 8, "b": 2, "c": 0}, rng=random.Random(1)), three()
    counts = Counter(policy(REQUEST, candidates)[0].name for _ in range(2000))
    assert 1500 < counts["a"] < 1700
    assert counts["c"] == 0


def test_a_split_stays_with_a_thread() -> None:
    models = {name: ScriptedChatModel([name] * 40) for name in "ab"}
    router = Router(
        candidates=[Candidate(name, model) for name, model in models.items()], policy=Split()
    )

    def step(state: MessagesState) -> dict[str, Any]:
        return {"messages": [router.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("step", step).add_edge(START, "step").compile()
    by_thread: dict[str, set[str]] = {}
    for thread in [f"t{n}" for n in range(10)] * 3:
        config: Any = {"configurable": {"thread_id": thread}}
        state = graph.invoke({"messages": [HumanMessage("x")]}, config)
        by_thread.setdefault(thread, set()).add(state["messages"][-1].text)
    assert all(len(answers) == 1 for answers in by_thread.values())
    assert len(set.union(*by_thread.values())) == 2


def test_cost_finds_published_prices_by_the_settings() -> None:
    settings = Settings.model_validate(
        {
            "models": {
                "dear": {"provider": "openai", "model": "gpt-4o", "api_key": "none"},
                "cheap": {"provider": "openai", "model": "gpt-4o-mini", "api_key": "none"},
                "near": {},
            },
            "routers": {"r": {"candidates": ["dear", "cheap", "near"], "policy": "cost"}},
        }
    )
    router = chat_model("r", settings=settings)
    assert isinstance(router, Router)
    found = router.policy(REQUEST, router.candidates)
    assert [c.name for c in found] == ["near", "cheap", "dear"]


@pytest.mark.parametrize("name", ["cheapest", "no.such:thing", "nearfar.llm:nothing", "math:pi"])
def test_a_policy_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_policy(name)
    assert name in caught.value.message
