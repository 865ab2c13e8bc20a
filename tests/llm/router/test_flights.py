"""Identical requests under way at the same time are sent once, and each caller hears all of it."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, HumanMessage

from nearfar.errors import NearfarError
from nearfar.llm.router import Candidate, Router, RouterOptions, Split
from nearfar.llm.router.flights import flights
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest, Status

from .upstreams import candidate, merged

TEXT = "one two three four five"
COALESCE = RouterOptions(coalesce=True, retries=0)
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


class Held:
    """A server's rule: no reply begins before it is let go."""

    def __init__(self, reply: Reply | Status | None = None) -> None:
        self.reply = reply or Reply(TEXT, gap_s=0.01)
        self.came = threading.Event()
        self.go = threading.Event()

    def __call__(self, _request: SeenRequest) -> Reply | Status:
        self.came.set()
        assert self.go.wait(20)
        return self.reply


def over(server: FaultServer, **fields: Any) -> Router:
    return Router(candidates=[candidate(server, "lean", "m")], options=COALESCE, **fields)


async def listeners(n: int) -> None:
    """Until so many callers listen to flights."""
    while sum(len(flight._ears) for flight in flights._under_way.values()) < n:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def stream(router: Router, text: str = "x", **options: Any) -> AIMessageChunk:
    chunks = [chunk async for chunk in router.astream(text, **options)]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert len(chunks) > 3
    return merged(chunks)


async def test_many_callers_are_one_request() -> None:
    held = Held()
    with FaultServer(default=held) as server:
        router = over(server)
        tasks = [asyncio.create_task(router.ainvoke("x")) for _ in range(5)]
        await listeners(5)
        held.go.set()
        replies = await asyncio.gather(*tasks)
        assert len(server.requests) == 1
        await router.ainvoke("x")
        assert len(server.requests) == 2  # the first flight is over
    assert [reply.text for reply in replies] == [TEXT] * 5
    receipts = [reply.response_metadata["nearfar"] for reply in replies]
    assert sum(receipt.get("coalesced", False) for receipt in receipts) == 4
    assert all(receipt["answered_by"] == "m" for receipt in receipts)
    assert not flights._under_way


async def test_a_stream_is_replayed_from_its_beginning_to_who_comes_late() -> None:
    with FaultServer(default=Reply(TEXT, gap_s=0.05)) as server:
        router = over(server)
        early = router.astream("x")
        first = await anext(aiter(early))
        late = await stream(router)
        rest = [chunk async for chunk in early]
        assert len(server.requests) == 1
    assert late.text == merged([first, *rest]).text == TEXT


async def test_threads_and_event_loops_share_a_flight() -> None:
    held = Held()
    with FaultServer(default=held) as server, ThreadPoolExecutor(4) as pool:
        router = over(server)

        def ask(n: int) -> str:
            return router.invoke("x").text if n % 2 else asyncio.run(router.ainvoke("x")).text

        found = [asyncio.get_running_loop().run_in_executor(pool, ask, n) for n in range(4)]
        mine = asyncio.create_task(router.ainvoke("x"))
        await listeners(5)
        held.go.set()
        assert await asyncio.gather(*found) == [TEXT] * 4
        assert (await mine).text == TEXT
        assert len(server.requests) == 1


async def test_a_leader_that_is_cancelled_kills_nobody() -> None:
    held = Held()
    with FaultServer(default=held) as server:
        router = over(server)
        leader = asyncio.create_task(router.ainvoke("x"))
        await listeners(1)
        follower = asyncio.create_task(router.ainvoke("x"))
        await listeners(2)
        leader.cancel()
        assert isinstance((await asyncio.gather(leader, return_exceptions=True))[0], BaseException)
        held.go.set()
        assert (await follower).text == TEXT
        assert len(server.requests) == 1


async def test_a_flight_that_nobody_listens_to_any_more_ends() -> None:
    held = Held()
    with FaultServer(default=held) as server:
        router = over(server)
        tasks = [asyncio.create_task(router.ainvoke("x")) for _ in range(2)]
        await listeners(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not flights._under_way
        while router.candidates[0].active:  # noqa: ASYNC110  (the count tells nobody)
            await asyncio.sleep(0.005)
        held.go.set()


async def test_a_fault_is_everybodys_and_each_has_an_error_of_its_own() -> None:
    held = Held(Status(400))
    with FaultServer(default=held) as server:
        router = over(server)
        tasks = [asyncio.create_task(router.ainvoke("x")) for _ in range(3)]
        await listeners(3)
        held.go.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert len(server.requests) == 1
    assert all(isinstance(error, NearfarError) and error.code == "NF-227" for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert all(error.data["receipt"]["attempts"] for error in errors)  # type: ignore[union-attr]


APART: dict[str, list[dict[str, Any]]] = {
    "tenants": [{"tenant": "a"}, {"tenant": "b"}, {}],
    "privacy": [{"private": False}, {"temperature": 0.0}],
    "priorities": [{"priority": "batch"}, {}],
    "labels": [{"label": "a"}, {}],
    "parameters": [{"max_tokens": 5}, {"max_tokens": 6}, {"stop": ["x"]}],
    "tools": [{"tools": [TOOL]}, {}],
    "side effects": [{"store": True}] * 2,
    "tools of the provider": [{"tools": [{"type": "web_search"}]}] * 2,
    "samples": [{"temperature": 0.8}] * 2,
    "ways of asking the cache": [{"cache": "bypass"}, {}],
}


@pytest.mark.parametrize("what", APART)
async def test_what_differs_or_may_do_something_goes_alone(what: str) -> None:
    with FaultServer(default=Reply(TEXT, delay_s=0.2)) as server:
        router = over(server)
        await asyncio.gather(
            *(router.ainvoke("x", **options) for options in APART[what]), return_exceptions=True
        )
        assert len(server.requests) == len(APART[what])


@pytest.mark.parametrize("sticky", [True, False])
async def test_threads_that_may_go_to_different_candidates_go_alone(sticky: bool) -> None:
    with FaultServer(default=Reply(TEXT, delay_s=0.2)) as server:
        router = over(server, policy=Split()) if sticky else over(server)
        configs: list[Any] = [{"configurable": {"thread_id": n}} for n in ("a", "b")]
        await asyncio.gather(*(router.ainvoke("x", config) for config in configs))
        assert len(server.requests) == (2 if sticky else 1)


async def test_without_the_setting_every_request_is_sent() -> None:
    with FaultServer(default=Reply(TEXT, delay_s=0.1)) as server:
        router = Router(candidates=[candidate(server, "lean", "m")])
        await asyncio.gather(*(router.ainvoke("x") for _ in range(3)))
        assert len(server.requests) == 3


async def test_routers_with_other_keys_share_nothing() -> None:
    with FaultServer(default=Reply(TEXT, delay_s=0.2)) as server:
        await asyncio.gather(*(over(server).ainvoke("x") for _ in range(2)))
        assert len(server.requests) == 2


@given(seed=st.integers(0, 10_000), callers=st.integers(2, 8))
@settings(max_examples=12)
def test_whoever_stays_hears_the_whole_answer(seed: int, callers: int) -> None:
    rng = random.Random(seed)

    async def one(router: Router) -> str | None:
        await asyncio.sleep(rng.uniform(0, 0.05))
        leaves = rng.random() < 0.4
        heard = ""
        async for chunk in router.astream(rng.choice("xy")):
            heard += chunk.text
            if leaves and rng.random() < 0.5:
                return None
        return heard

    async def all_of_them(server: FaultServer) -> list[str | None]:
        router = over(server)
        return await asyncio.gather(*(one(router) for _ in range(callers)))

    with FaultServer(default=Reply(TEXT, gap_s=0.01)) as server:
        found = asyncio.run(all_of_them(server))
    assert {text for text in found if text is not None} <= {TEXT}


def test_a_request_that_is_not_json_goes_alone() -> None:
    with FaultServer(default=Reply(TEXT)) as server:
        message = HumanMessage("x", additional_kwargs={"odd": object()})
        assert over(server).invoke([message]).text == TEXT


def test_candidates_that_share_their_breaker_are_the_same_upstream() -> None:
    with FaultServer(default=Reply(TEXT, delay_s=0.2)) as server:
        one = candidate(server, "lean", "m")

        async def both() -> None:
            await asyncio.gather(
                *(
                    Router(
                        candidates=[Candidate("m", one.model, breaker=one.breaker)],
                        options=COALESCE,
                    ).ainvoke("x")
                    for _ in range(2)
                )
            )

        asyncio.run(both())
        assert len(server.requests) == 1
