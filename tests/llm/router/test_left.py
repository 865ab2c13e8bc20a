"""A caller who goes away leaves a receipt that says so, and what was paid."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from nearfar import chat_model
from nearfar.llm.router.receipts import Receipts
from nearfar.settings import Settings
from nearfar.testing.fault_server import FaultServer, Reply

TEXT = "one two three four five six seven eight nine ten"


def settings_for(server: FaultServer, **router: Any) -> Settings:
    lab = {
        "provider": "openai-compatible",
        "base_url": server.openai_url,
        "model": "m",
        "api_key": "none",
        "price": {"input": 1000, "output": 1000},
    }
    own = {"candidates": ["lab"], **router}
    budgets = {"all": {"limit_usd": 100, "per": "total"}}
    return Settings.model_validate(
        {"models": {"lab": lab}, "routers": {"default": own}, "budgets": budgets}
    )


async def left_in_mid_stream(model: Any) -> None:
    async with aclosing(model.astream("x")) as chunks:
        async for _ in chunks:
            break


async def cancelled_before_a_token(model: Any, server: FaultServer) -> None:
    task = asyncio.ensure_future(model.ainvoke("x"))
    await until(lambda: server.requests[0].body if server.requests else None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("router", [{}, {"budget": "all"}, {"coalesce": True}])
@pytest.mark.usefixtures("home_folder")
async def test_a_stream_that_is_left_has_a_receipt_with_what_was_billed(router: Any) -> None:
    with FaultServer(default=Reply(TEXT, gap_s=0.05)) as server:
        settings = settings_for(server, **router)
        await left_in_mid_stream(chat_model(settings=settings))
        found = await until(lambda: _kept(settings))
    assert [a["outcome"] for a in found["attempts"]] == ["abandoned"]
    assert found["answered_by"] is None
    assert found["cost_usd"] > 0


@pytest.mark.usefixtures("home_folder")
async def test_a_call_that_is_cancelled_has_one_too() -> None:
    with FaultServer(default=Reply(TEXT, delay_s=20)) as server:
        settings = settings_for(server)
        await cancelled_before_a_token(chat_model(settings=settings), server)
        found = await until(lambda: _kept(settings))
    assert [a["outcome"] for a in found["attempts"]] == ["abandoned"]


@pytest.mark.usefixtures("home_folder")
def test_a_synchronous_caller_leaves_one_as_well() -> None:
    with FaultServer(default=Reply(TEXT, gap_s=0.05)) as server:
        settings = settings_for(server)
        for _ in chat_model(settings=settings).stream("x"):
            break
        found = asyncio.run(until(lambda: _kept(settings)))
    assert [a["outcome"] for a in found["attempts"]] == ["abandoned"]


def _kept(settings: Settings) -> dict[str, Any] | None:
    receipts = Receipts.open(settings)
    assert receipts is not None
    kept = receipts.latest()
    return kept[0].receipt if kept else None


async def until(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """What it gives once it gives something: another loop may have to notice first."""
    end = asyncio.get_running_loop().time() + 30
    while (found := look()) is None:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)
    return found
