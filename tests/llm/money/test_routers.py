"""What a router pays: per attempt, per budget, for streams that are left, near and far."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from nearfar.errors import BudgetExhaustedError, NearfarError, UnknownPriceError
from nearfar.llm.money import FREE, Alert, Budget, Ledger, Price, Till, spending_run
from nearfar.llm.money.report import costs
from nearfar.llm.router import Candidate, Router
from nearfar.testing import ScriptedChatModel
from nearfar.testing.fault_server import Fault, FaultServer, Reply, Status
from tests.llm.router.upstreams import PATIENT, candidate

MICRO = Price(Decimal(1), Decimal(100))  # 10 tokens in, 5 out: 0.00051 USD
CALL = 0.00051


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "nearfar.db")
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(default=Reply("one two three four five")) as made:
        yield made


def far(server: FaultServer, price: Price | None = MICRO, name: str = "far") -> Candidate:
    made = candidate(server, "lean", name)
    made.price = price
    return made


def near(*replies: str) -> Candidate:
    model = ScriptedChatModel(script=list(replies))
    return Candidate("near", model, provider="local", local=True, price=FREE)


def router(till: Till, *candidates: Candidate) -> Router:
    return Router(candidates=list(candidates), options=PATIENT, till=till)


def budget(calls: float, **more: Any) -> Budget:
    return Budget("b", Decimal(str(round(calls * CALL, 8))), **{"per": "total", **more})


def outcomes(ledger: Ledger) -> list[tuple[Any, ...]]:
    query = "SELECT model, outcome, input_tokens, output_tokens, estimated FROM ledger_entries"
    return ledger.read(lambda c: c.execute(query).fetchall())


def receipt(message: AIMessage) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["nearfar"]
    return found


def reserved(ledger: Ledger) -> int:
    return int(
        ledger.read(lambda c: c.execute("SELECT count(*) FROM ledger_reservations").fetchone()[0])
    )


async def test_a_reply_is_in_the_ledger_with_its_cost_and_the_cost_in_its_receipt(
    ledger: Ledger, server: FaultServer
) -> None:
    model = router(Till(ledger), far(server))
    with spending_run("run-1"):
        told = receipt(await model.ainvoke("x"))
    assert (told["cost_usd"], told["price_source"]) == (CALL, "settings")
    assert outcomes(ledger) == [("far", "answered", 10, 5, 0)]
    assert [row.key for row in costs(ledger, "run")] == ["run-1"]


async def test_without_a_budget_an_unknown_price_is_no_hindrance(
    ledger: Ledger, server: FaultServer
) -> None:
    told = receipt(await router(Till(ledger), far(server, None)).ainvoke("x"))
    assert (told["cost_usd"], told["price_source"]) == (None, None)
    assert costs(ledger)[0].unpriced == 1


async def test_with_a_budget_an_unknown_price_is_refused(
    ledger: Ledger, server: FaultServer
) -> None:
    with pytest.raises(UnknownPriceError) as caught:
        await router(Till(ledger, budget(9)), far(server, None)).ainvoke("x")
    assert caught.value.data["receipt"]["candidates"][-1]["reason"].startswith("budget: its price")
    assert server.seen() == []


@pytest.mark.parametrize("then", ["stop", "ask"])
async def test_an_exhausted_budget_stops_before_anything_is_sent(
    ledger: Ledger, server: FaultServer, then: Any
) -> None:
    model = router(Till(ledger, budget(2.5, on_exhausted=then)), far(server), near())
    for _ in range(2):
        await model.ainvoke("x", max_tokens=5)
    with pytest.raises(BudgetExhaustedError) as caught:
        await model.ainvoke("x", max_tokens=5)
    assert caught.value.exit_code == 4
    assert caught.value.data["on_exhausted"] == then
    assert caught.value.data["spent_usd"] == pytest.approx(2 * CALL)
    assert len(server.seen()) == 2


async def test_an_exhausted_budget_leaves_local_models_where_it_says_so(
    ledger: Ledger, server: FaultServer
) -> None:
    till = Till(ledger, budget(1.5, on_exhausted="local"))
    model = router(till, far(server), far(server, FREE, "other"), near("from near"))
    assert receipt(await model.ainvoke("x", max_tokens=5))["answered_by"] == "far"
    reply = await model.ainvoke("x", max_tokens=5)
    assert reply.text == "from near"
    reasons = {c["candidate"]: c["reason"] for c in receipt(reply)["candidates"] if "reason" in c}
    assert reasons["other"] == "budget: only models on this machine go on"
    assert reasons["far"].startswith("budget: ")
    assert receipt(reply)["cost_usd"] == 0


async def test_a_cheaper_model_answers_where_a_dear_one_does_not_fit(
    ledger: Ledger, server: FaultServer
) -> None:
    dear = far(server, Price(Decimal(1000), Decimal(1000)), "dear")
    reply = await router(Till(ledger, budget(2)), dear, far(server)).ainvoke("x", max_tokens=5)
    assert receipt(reply)["answered_by"] == "far"


async def test_callers_wait_for_what_others_have_reserved_but_will_not_spend(
    ledger: Ledger, server: FaultServer
) -> None:
    """Each may cost ten times what it does: at most three go at once, and all are answered."""
    model = router(Till(ledger, budget(35)), far(server))
    replies = await asyncio.gather(*(model.ainvoke("x", max_tokens=50) for _ in range(20)))
    assert len(replies) == 20
    assert reserved(ledger) == 0
    assert float(ledger.standing(budget(35), "total").spent_usd) == pytest.approx(20 * CALL)


async def test_a_reply_without_a_limit_gets_the_one_that_the_budget_can_pay(
    ledger: Ledger, server: FaultServer
) -> None:
    till = Till(ledger, Budget("b", Decimal("0.06"), per="total", max_output_tokens=500))
    model = router(till, far(server))
    await model.ainvoke("x")
    assert server.seen()[0].body["max_tokens"] == 500
    ledger.settle(*await _take(till, "0.02"))
    await model.ainvoke("x")
    assert 16 <= server.seen()[1].body["max_tokens"] < 400
    ledger.settle(*await _take(till, "0.0378"))
    with pytest.raises(BudgetExhaustedError):  # not a reply that is cut after a few words
        await model.ainvoke("x")


async def _take(till: Till, usd: str) -> Any:
    from nearfar.llm.money import Claim, Entry

    assert till.budget is not None
    amount = Decimal(usd)
    claim = Claim("m", "p", amount, amount, amount, 1, "x", "")
    return await till.ledger.areserve(till.budget, claim), Entry("m", "p", 1, 1, amount)


async def test_a_failed_attempt_costs_nothing_and_one_that_broke_off_what_had_come(
    ledger: Ledger, server: FaultServer
) -> None:
    model = router(Till(ledger, budget(9)), far(server))
    server.add(Status(500), Reply())
    await model.ainvoke("x", max_tokens=5)
    assert outcomes(ledger) == [("far", "answered", 10, 5, 0)]
    server.add(Fault("cut", after=3), Reply("one two three four five six"))
    told = receipt(await model.ainvoke("x", max_tokens=5))
    broken = outcomes(ledger)[1]
    assert broken[1] == "broken"
    assert broken[3] > 0
    assert broken[4] == 1
    assert told["cost_usd"] > CALL
    assert costs(ledger)[0].requests == 2
    assert reserved(ledger) == 0


@pytest.mark.parametrize("limited", [True, False])
async def test_a_stream_that_is_left_is_billed_for_what_was_produced(
    ledger: Ledger, limited: bool
) -> None:
    text = "a much longer answer that nobody reads to its end"
    with FaultServer(default=Reply(text, gap_s=0.02)) as server:
        till = Till(ledger, budget(99) if limited else None)
        stream = router(till, far(server)).astream("x", max_tokens=50)
        async for chunk in stream:
            if "longer" in chunk.text:
                break
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator
    ((model, outcome, prompt, output, estimated),) = outcomes(ledger)
    assert (model, outcome, estimated) == ("far", "abandoned", 1)
    assert prompt > 0
    assert 2 <= output <= 5
    assert reserved(ledger) == 0


def wait_for_request(server: FaultServer) -> None:
    while not server.seen():
        time.sleep(0.005)


async def test_a_cancelled_call_leaves_no_reservation(ledger: Ledger) -> None:
    with FaultServer(default=Reply(delay_s=30)) as server:
        model = router(Till(ledger, budget(9)), far(server))
        asking = asyncio.create_task(model.ainvoke("x", max_tokens=5))
        await asyncio.to_thread(wait_for_request, server)
        assert reserved(ledger) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert reserved(ledger) == 0
    assert [line[1] for line in outcomes(ledger)] == ["abandoned"]


async def test_a_local_model_needs_no_reservation_and_is_in_the_ledger(ledger: Ledger) -> None:
    till = Till(ledger, Budget("b", Decimal(0), per="total"))
    await router(till, near("hi")).ainvoke("x")
    assert [(line[1]) for line in outcomes(ledger)] == ["answered"]
    assert float(ledger.standing(till.budget, "total").spent_usd) == 0  # type: ignore[arg-type]


async def test_a_budget_per_run_is_each_runs_own(ledger: Ledger, server: FaultServer) -> None:
    model = router(Till(ledger, budget(1.5, per="run")), far(server))
    for name in ("a", "b"):
        with spending_run(name):
            await model.ainvoke("x", max_tokens=5)
            with pytest.raises(BudgetExhaustedError):
                await asyncio.to_thread(model.invoke, "x", max_tokens=5)
    await model.ainvoke("x", max_tokens=5)  # outside of runs each call is one


async def test_the_hook_hears_of_shares_and_its_faults_stay_its_own(
    ledger: Ledger, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Alert] = []

    def hook(alert: Alert) -> None:
        heard.append(alert)
        raise ValueError

    model = router(Till(ledger, budget(2.2), on_alert=hook), far(server))
    for _ in range(2):
        await model.ainvoke("x", max_tokens=5)
    with pytest.raises(NearfarError):
        await model.ainvoke("x", max_tokens=5)
    assert [alert.share for alert in heard] == [0.5, 0.8, 1.0]
    assert "has reached 80 % of its limit" in caplog.text


async def test_routers_from_settings_pay_from_their_budget(
    server: FaultServer, home_folder: Path
) -> None:
    from nearfar import chat_model
    from nearfar.settings import Settings

    price = {"input": 1, "output": 100}
    far_model = {"provider": "openai-compatible", "model": "m", "base_url": server.openai_url}
    settings = Settings.model_validate(
        {
            "models": {"lab": {**far_model, "api_key": "none", "price": price}},
            "routers": {"default": {"candidates": ["lab"], "budget": "all"}},
            "budgets": {"all": {"limit_usd": 1.5 * CALL, "per": "total"}},
        }
    )
    model: BaseChatModel = chat_model(settings=settings)
    await model.ainvoke("x", max_tokens=5)
    with pytest.raises(BudgetExhaustedError):
        await model.ainvoke("x", max_tokens=5)
    Ledger.open(settings).close()
