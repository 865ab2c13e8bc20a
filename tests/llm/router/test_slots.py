"""Concurrency limits: never more at once, interactive before batch, no slot is ever lost."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import DeadlineExceededError, InvalidParameterError, RouterBusyError
from nearfar.llm import chat_model
from nearfar.llm.router import Candidate, Router, RouterOptions, at_priority
from nearfar.llm.router.caller import Priority
from nearfar.llm.router.slots import Slots, Ticket
from nearfar.settings import Settings
from nearfar.testing.fault_server import Fault, FaultServer, Reply, SeenRequest, Status, Step

from .upstreams import candidate


class Meter:
    """How many requests a server works on at the same time, and in which order they came."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.reply = Reply("one two", delay_s=seconds)
        self.order: list[str] = []

    def __call__(self, request: SeenRequest) -> Reply:
        self.order.append(request.body["messages"][-1]["content"])
        return self.reply


def most_at_once(server: FaultServer, seconds: float) -> int:
    """By the times when requests came: each takes ``seconds`` at least."""
    starts = sorted(request.at for request in server.requests)
    return max(sum(1 for other in starts if 0 <= start - other < seconds) for start in starts)


def limited(server: FaultServer, limit: int, waiting: int = 100, name: str = "m") -> Candidate:
    found = candidate(server, "lean", name)
    found.slots = Slots(limit, waiting)
    return found


def free(one: Candidate) -> int:
    """Slots that can be taken now, all given back again."""
    assert one.slots is not None
    taken = 0
    while one.slots.take():
        taken += 1
    for _ in range(taken):
        one.slots.give_back()
    return taken


async def test_never_more_than_the_limit_at_once() -> None:
    with FaultServer(default=Meter(0.1)) as server:
        one = limited(server, 3)
        routers = [Router(candidates=[one]) for _ in range(2)]
        await asyncio.gather(*(routers[n % 2].ainvoke(str(n)) for n in range(12)))
        assert most_at_once(server, 0.09) == 3
        assert len(server.requests) == 12
    assert free(one) == 3


def test_threads_and_event_loops_count_together() -> None:
    with FaultServer(default=Meter(0.1)) as server:
        one = limited(server, 2)
        router = Router(candidates=[one])

        def ask(n: int) -> str:
            if n % 2:
                return router.invoke(str(n)).text
            return asyncio.run(router.ainvoke(str(n))).text

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == ["one two"] * 8
        assert most_at_once(server, 0.09) == 2
    assert free(one) == 2


async def _all_wait(one: Candidate, n: int) -> None:
    assert one.slots is not None
    while sum(map(len, one.slots._lines.values())) < n:  # noqa: ASYNC110  (the slots tell nobody)
        await asyncio.sleep(0.005)


async def test_interactive_requests_go_before_batch() -> None:
    meter = Meter()
    with FaultServer(default=meter) as server:
        one = limited(server, 1)
        router = Router(candidates=[one])
        assert one.slots is not None
        assert one.slots.take()
        config: Any = {"metadata": {"priority": "batch"}}
        tasks = [asyncio.create_task(router.ainvoke("bulk 1", config))]
        tasks.append(asyncio.create_task(router.bind(priority="batch").ainvoke("bulk 2")))
        with at_priority("batch"):
            tasks.append(asyncio.create_task(router.ainvoke("bulk 3")))
        await _all_wait(one, 3)
        tasks.append(asyncio.create_task(router.ainvoke("a person 1")))
        await _all_wait(one, 4)
        tasks.append(asyncio.create_task(asyncio.to_thread(router.invoke, "a person 2")))
        await _all_wait(one, 5)
        one.slots.give_back()
        await asyncio.gather(*tasks)
    assert meter.order == ["a person 1", "a person 2", "bulk 1", "bulk 2", "bulk 3"]
    assert free(one) == 1


async def test_a_full_candidate_is_passed_over_while_another_is_free() -> None:
    with FaultServer(default=Meter()) as first, FaultServer(default=Meter()) as second:
        full, other = limited(first, 1, name="full"), candidate(second, "lean", "other")
        assert full.slots is not None
        assert full.slots.take()
        reply = await Router(candidates=[full, other]).ainvoke("x")
    receipt = reply.response_metadata["nearfar"]
    assert receipt["answered_by"] == "other"
    assert any("busy" in entry.get("reason", "") for entry in receipt["candidates"])


async def test_whichever_is_free_first_is_asked_when_all_are_full() -> None:
    with FaultServer(default=Meter()) as first, FaultServer(default=Meter()) as second:
        both = [limited(first, 1, name="a"), limited(second, 1, name="b")]
        for one in both:
            assert one.slots is not None
            assert one.slots.take()
        task = asyncio.create_task(Router(candidates=both).ainvoke("x"))
        await _all_wait(both[0], 1)
        await _all_wait(both[1], 1)
        assert both[1].slots is not None
        both[1].slots.give_back()
        assert (await task).response_metadata["nearfar"]["answered_by"] == "b"
    assert [free(one) for one in both] == [0, 1]


async def test_one_more_than_may_wait_is_refused_at_once() -> None:
    with FaultServer(default=Meter()) as server:
        one = limited(server, 1, waiting=2)
        router = Router(candidates=[one])
        assert one.slots is not None
        assert one.slots.take()
        waiting = [asyncio.create_task(router.ainvoke("x")) for _ in range(2)]
        await _all_wait(one, 2)
        with pytest.raises(RouterBusyError) as caught:
            await router.ainvoke("x")
        assert caught.value.code == "NF-244"
        assert caught.value.data["receipt"]["attempts"] == []
        one.slots.give_back()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("sync", [True, False])
async def test_waiting_counts_against_the_deadline(sync: bool) -> None:
    with FaultServer(default=Meter()) as server:
        one = limited(server, 1)
        router = Router(candidates=[one], options=RouterOptions(deadline_s=0.3))
        assert one.slots is not None
        assert one.slots.take()
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await (asyncio.to_thread(router.invoke, "x") if sync else router.ainvoke("x"))
        assert 0.25 < time.monotonic() - started < 2
        one.slots.give_back()
        assert free(one) == 1
        assert not server.requests


async def test_a_fault_gives_the_slot_back() -> None:
    steps: list[Step] = [Status(400), Status(503), Fault("cut", reply=Reply("one two three"))]
    with FaultServer(*steps, default=Reply("ok")) as server:
        one = limited(server, 1)
        router = Router(candidates=[one], options=RouterOptions(retries=1))
        await asyncio.gather(*(router.ainvoke("x") for _ in range(3)), return_exceptions=True)
        stream = router.astream("x")
        await anext(aiter(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        assert free(one) == 1


@given(
    limit=st.integers(1, 3),
    fates=st.lists(
        st.tuples(st.sampled_from(["done", "cancel", "late"]), st.booleans()), max_size=12
    ),
)
@settings(max_examples=60)
def test_no_slot_is_lost_or_doubled_whatever_happens_to_those_who_wait(
    limit: int, fates: list[tuple[str, bool]]
) -> None:
    slots, running, most = Slots(limit, 100), 0, 0

    async def one(fate: str, batch: bool) -> None:
        nonlocal running, most
        kind: Priority = "batch" if batch else "interactive"
        ticket = Ticket(kind)
        try:
            if not slots.take():
                assert ticket.stand([slots])
                until = asyncio.get_running_loop().time() + (0 if fate == "late" else 5)
                if await ticket.wait(until) is None:
                    return
        finally:
            ticket.close()
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0)
        finally:
            running -= 1
            slots.give_back()

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(one(fate, batch)) for fate, batch in fates]
        await asyncio.sleep(0)
        for task, (fate, _batch) in zip(tasks, fates, strict=True):
            if fate == "cancel":
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    assert most <= limit
    assert sum(1 for _ in iter(slots.take, False)) == limit


def test_a_waiter_whose_loop_is_gone_is_passed_over() -> None:
    slots = Slots(1, 10)
    assert slots.take()

    async def leave() -> None:
        assert Ticket("interactive").stand([slots])

    thread = threading.Thread(target=lambda: asyncio.run(leave()))
    thread.start()
    thread.join()
    slots.give_back()
    assert slots.take()


def test_routers_of_the_same_settings_share_a_limit() -> None:
    def settings() -> Settings:
        model = {"provider": "openai", "model": "m", "api_key": "none", "max_concurrency": 2}
        routers = {name: {"candidates": ["a", "near"]} for name in ("r", "s")}
        return Settings.model_validate({"models": {"a": model, "near": {}}, "routers": routers})

    first, second = (chat_model(name, settings=settings()) for name in ("r", "s"))
    assert isinstance(first, Router)
    assert isinstance(second, Router)
    assert first.candidates[0].slots is second.candidates[0].slots is not None
    assert first.candidates[1].slots is None


def test_a_priority_that_there_is_not_is_refused() -> None:
    with FaultServer() as server, pytest.raises(InvalidParameterError, match="interactive"):
        Router(candidates=[candidate(server, "lean", "m")]).invoke("x", priority="urgent")
