"""Model calls of an agent are paid from a budget, which is never overspent."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from nearfar.agents.middleware import BudgetMiddleware
from nearfar.errors import BudgetExhaustedError, ConfigurationError, UnknownPriceError
from nearfar.llm.money import Budget, Ledger, Price, Till
from nearfar.llm.router.candidate import Candidate
from nearfar.llm.router.router import Router
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel

PRICE = Price(Decimal(1), Decimal(1000))  # a token of a reply costs a thousandth of a dollar
CONFIG: Any = {"configurable": {"thread_id": "t"}}


def say(tokens: int) -> AIMessage:
    usage = UsageMetadata(input_tokens=10, output_tokens=tokens, total_tokens=10 + tokens)
    return AIMessage("said", usage_metadata=usage)


def agent(model: Any, budget: Budget, **options: Any) -> Any:
    middleware = BudgetMiddleware(budget, Settings(), **options)
    return create_agent(model, [], middleware=[middleware], checkpointer=InMemorySaver())


def ask(graph: Any) -> Any:
    return graph.invoke({"messages": [("user", "go")]}, CONFIG)


def spent(budget: Budget) -> Decimal:
    return Ledger.open(Settings()).standing(budget, "total").spent_usd


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_it_cuts_replies_to_what_is_left_and_then_stops(way: str) -> None:
    budget = Budget("small", Decimal("0.2"), per="total", max_output_tokens=100)
    with ScriptedChatModel([say(90), say(60), say(40)]) as model:
        graph = agent(model, budget, price=PRICE)
        given = {"messages": [("user", "go")]}
        for _ in range(3):
            if way == "async":
                await graph.ainvoke(given, CONFIG)
            else:
                await asyncio.to_thread(graph.invoke, given, CONFIG)
        limits = [call.options["max_tokens"] for call in model.calls]
        assert limits[:2] == [100, 100]
        assert limits[2] < 60
        with pytest.raises(BudgetExhaustedError) as caught:
            await graph.ainvoke(given, CONFIG)
    assert caught.value.exit_code == 4
    assert Decimal("0.18") <= spent(budget) <= Decimal("0.2")


def test_a_failed_call_costs_nothing() -> None:
    budget = Budget("small", Decimal("0.2"), per="total", max_output_tokens=100)
    graph = agent(ScriptedChatModel([ValueError("down"), say(1)]), budget, price=PRICE)
    with pytest.raises(ValueError, match="down"):
        ask(graph)
    ask(graph)
    assert spent(budget) == Decimal("0.00101")


def test_a_person_can_allow_one_more_call() -> None:
    budget = Budget("none", Decimal("0.00001"), per="total", on_exhausted="ask")
    graph = agent(ScriptedChatModel([say(5)]), budget, price=PRICE)
    (pause,) = ask(graph)["__interrupt__"]
    assert pause.value["action_requests"][0]["name"] == "spend"
    out = graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
    assert out["messages"][-1].content == "said"
    ask(graph)
    with pytest.raises(BudgetExhaustedError):
        graph.invoke(Command(resume={"decisions": [{"type": "reject"}]}), CONFIG)


def test_the_built_in_model_goes_on_when_the_budget_is_at_its_end() -> None:
    budget = Budget("none", Decimal("0.00001"), per="total", on_exhausted="local")
    with ScriptedChatModel([]) as model:
        out = ask(agent(model, budget, price=PRICE))
    assert out["messages"][-1].response_metadata["provider"] == "local"


def test_a_price_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownPriceError):
        ask(agent(ScriptedChatModel([]), Budget("b", Decimal(1))))


def test_a_router_pays_from_the_budget_and_from_no_other() -> None:
    budget = Budget("small", Decimal("0.2"), per="total", max_output_tokens=100)
    model = ScriptedChatModel([say(90)])
    candidate = Candidate("far", model, provider="openai", price=PRICE)
    ask(agent(Router(candidates=[candidate]), budget))
    assert Decimal("0.09") <= spent(budget) <= Decimal("0.1")
    other = Till(Ledger.open(Settings()), Budget("other", Decimal(1)))
    with pytest.raises(ConfigurationError, match="other"):
        ask(agent(Router(candidates=[candidate], till=other), budget))
