"""A run whose step needs a far model waits for one, and goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import nearfar
from nearfar.errors import NearfarError, UpstreamConnectionError
from nearfar.graphs.runtime import parking
from nearfar.graphs.runtime.handle import Run
from nearfar.graphs.runtime.parking import Parked, cloud_required
from nearfar.settings import Settings
from nearfar.testing.fault_server import FaultServer, Reply, Status

from . import parked_flow

FLOW = f"{parked_flow.__name__}:make"


def settings(*servers: FaultServer, near: bool = False) -> Settings:
    models: dict[str, Any] = {
        f"far{number}": {
            "provider": "openai-compatible",
            "model": f"m{number}",
            "base_url": server.openai_url,
            "api_key": "none",
        }
        for number, server in enumerate(servers)
    }
    candidates = [*models, *(["builtin"] if near else [])]
    router = {"candidates": candidates, "deadline_s": 10, "retries": 0, "breaker": {"open_s": 0.1}}
    values = {"models": models, "routers": {"default": router}}
    return nearfar.load_settings().model_copy(update=dict(Settings.model_validate(values)))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(parking, "LONGEST_WAIT_S", 0.2)


async def until(run: Run, status: str) -> None:
    async with asyncio.timeout(20):
        while await run.status() != status:  # noqa: ASYNC110  # the journal tells nobody
            await asyncio.sleep(0.02)


@pytest.fixture
async def away() -> AsyncIterator[FaultServer]:
    """A server that was there and is gone; ``start`` brings it back at the same address."""
    server = FaultServer(default=Reply("from afar")).start()
    server.stop()
    yield server
    server.stop()


@pytest.mark.usefixtures("store")
async def test_the_run_is_parked_and_goes_on_when_a_far_model_is_back(away: FaultServer) -> None:
    async with nearfar.Runner(settings(away, near=True)) as runner:
        run = await runner.start(FLOW, {})
        await until(run, "parked")
        record = await run.record()
        assert record.error is not None
        assert record.error is not None
        assert record.error["code"] == "NF-524"
        away.start()
        assert (await run.result())["told"] == ["near", "from afar"]


@pytest.mark.usefixtures("store")
async def test_a_later_runner_picks_up_what_is_parked(away: FaultServer) -> None:
    chosen = settings(away)
    async with nearfar.Runner(chosen) as runner:
        run = await runner.start(FLOW, {})
        await until(run, "parked")
    away.start()
    async with nearfar.Runner(chosen) as runner:
        run = await runner.get(run.id)
        await until(run, "succeeded")
        assert (await run.result())["told"] == ["near", "from afar"]


async def test_one_far_model_that_answers_is_enough(away: FaultServer) -> None:
    with FaultServer(Reply("the other")) as other:
        async with nearfar.Runner(settings(away, other)) as runner:
            run = await runner.start(FLOW, {})
            assert (await run.result())["told"] == ["near", "the other"]


async def test_a_refusal_is_no_absence() -> None:
    with FaultServer(default=Status(401)) as server:
        async with nearfar.Runner(settings(server)) as runner:
            run = await runner.start(FLOW, {})
            with pytest.raises(NearfarError, match=r"401|refused"):
                await run.result()
            assert await run.status() == "failed"


class State(TypedDict, total=False):
    told: str


def away_now(_: State) -> Any:
    raise UpstreamConnectionError("nobody there", data={"fault": "refused"})


async def away_async(_: State) -> Any:
    away_now(_)


@pytest.mark.parametrize("node", [away_now, away_async, RunnableLambda(away_now, away_async)])
async def test_any_node_can_be_marked(node: Callable[..., Any]) -> None:
    builder = StateGraph(State).add_node("step", cloud_required(node)).add_edge(START, "step")
    graph = builder.compile(checkpointer=InMemorySaver())
    waits = []
    for _ in range(4):
        with pytest.raises(Parked, match="step needs a far model") as caught:
            await graph.ainvoke({}, {"configurable": {"thread_id": str(node)}}, durability="sync")
        waits.append(caught.value.retry_in_s)
    assert waits == [0.05, 0.1, 0.2, 0.2]


def test_other_errors_are_left_alone() -> None:
    @cloud_required
    def node(_: State) -> Any:
        raise NearfarError("something else")

    with pytest.raises(NearfarError, match="something else") as caught:
        node({})
    assert not isinstance(caught.value, Parked)
