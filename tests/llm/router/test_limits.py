"""Attempts and time: never more than was allowed, whatever the upstreams do."""

import asyncio
import time
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import DeadlineExceededError, NearfarError
from nearfar.llm.router import BreakerOptions, Candidate, Router, RouterOptions
from nearfar.testing.fault_server import Fault, FaultServer, Reply, Status, Step

from .upstreams import Way, ask, candidate

SLACK_S = 1.0
"""For a machine that does other things too."""
WAYS: tuple[Way, ...] = ("invoke", "stream", "ainvoke", "astream")
OK = Reply("one two three")
STEPS: list[Step] = [
    OK,
    Status(429),
    Status(429, retry_after="0"),
    Status(429, retry_after="1"),
    Status(429, retry_after="-3"),
    Status(429, retry_after="later"),
    Status(500),
    Status(503),
    Status(401),
    Status(400),
    Status(400, "context"),
    Fault("reset", at="headers", reply=OK),
    Fault("cut", after=1, reply=OK),
    Fault("empty", reply=OK),
    Fault("stall", at="headers", seconds=5, reply=OK),
    Fault("stall", after=1, seconds=5, reply=OK),
]


@given(
    script=st.lists(st.lists(st.sampled_from(STEPS), max_size=4), min_size=1, max_size=3),
    last=st.lists(st.sampled_from(STEPS), min_size=3, max_size=3),
    retries=st.integers(0, 3),
    deadline_s=st.sampled_from([0.05, 0.4, 1.0]),
    stream=st.booleans(),
)
@settings(max_examples=25)
def test_attempts_and_deadline_hold_whatever_happens(
    script: list[list[Step]], last: list[Step], retries: int, deadline_s: float, stream: bool
) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(FaultServer(default=end))
            for end, _ in zip(last, script, strict=False)
        ]
        for server, steps in zip(servers, script, strict=True):
            server.add(*steps)
        for server in servers:
            stack.callback(server._scripts.clear)  # steps that nobody asked for are fine here
        router = Router(
            candidates=[candidate(s, "lean", f"m{i}") for i, s in enumerate(servers)],
            options=RouterOptions(
                deadline_s=deadline_s, first_token_s=0.2, stall_s=0.2, retries=retries
            ),
        )
        started = time.monotonic()
        try:
            reply = asyncio.run(ask(router, "astream" if stream else "ainvoke"))
        except NearfarError as error:
            receipt = error.data["receipt"]
        else:
            assert reply.text == OK.text
            receipt = reply.response_metadata["nearfar"]
        took = time.monotonic() - started
        requests = [len(server.requests) for server in servers]
    assert took <= deadline_s + SLACK_S
    assert max(requests) <= 1 + retries
    assert sum(requests) <= len(receipt["attempts"]) <= (1 + retries) * len(servers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", ["headers", "first_token", "midstream"])
async def test_the_deadline_ends_a_request_that_hangs(way: Way, at: str) -> None:
    hang = Fault("stall", at=at, seconds=5, reply=OK)  # type: ignore[arg-type]
    with FaultServer(default=hang) as server:
        router = Router(
            candidates=[candidate(server, "lean", "m")], options=RouterOptions(deadline_s=0.3)
        )
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await ask(router, way)
        assert time.monotonic() - started < 0.3 + SLACK_S


async def test_a_router_within_a_router_does_not_multiply_attempts() -> None:
    with FaultServer(default=Status(503)) as server:
        inner = Router(
            candidates=[candidate(server, "lean", "m")], options=RouterOptions(retries=1)
        )
        outer = Router(
            candidates=[Candidate("inner", inner)], options=RouterOptions(retries=3, deadline_s=5)
        )
        with pytest.raises(NearfarError):
            await outer.ainvoke("x")
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [("1", 0.95, 4.0), ("0", 0.0, 2.0), ("-4", 0.0, 2.0), ("whenever", 0.0, 2.0)],
)
async def test_retry_after_is_a_least_wait_for_the_same_candidate(
    header: str, least_s: float, most_s: float
) -> None:
    with FaultServer(Status(429, retry_after=header), OK) as server:
        router = Router(candidates=[candidate(server, "lean", "m")])
        await router.ainvoke("x")
        first, second = server.requests
    assert least_s <= second.at - first.at <= most_s


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with FaultServer(Status(429, retry_after="30")) as server:
        router = Router(
            candidates=[candidate(server, "lean", "m")], options=RouterOptions(deadline_s=5)
        )
        started = time.monotonic()
        with pytest.raises(NearfarError) as caught:
            await router.ainvoke("x")
        assert time.monotonic() - started < 1 + SLACK_S
    assert caught.value.code == "NF-223"


async def test_while_one_waits_another_is_asked() -> None:
    with FaultServer(Status(429, retry_after="30")) as busy, FaultServer(OK) as free:
        router = Router(candidates=[candidate(busy, "lean", "a"), candidate(free, "lean", "b")])
        started = time.monotonic()
        assert (await router.ainvoke("x")).text == OK.text
        assert time.monotonic() - started < SLACK_S


async def test_one_candidates_key_is_closed_and_the_others_are_not() -> None:
    with FaultServer(default=Status(401)) as server, FaultServer(default=OK) as other:
        bad, good = candidate(server, "lean", "bad"), candidate(other, "lean", "good")
        router = Router(candidates=[bad, good])
        for _ in range(5):
            await router.ainvoke("x")
        assert len(server.requests) == 1
    health = router.health()
    assert health["bad"].state == "open"
    assert health["good"].state == "closed"


@pytest.mark.parametrize("step", [Status(400), Status(422), Status(400, "content_filter")])
async def test_the_callers_faults_never_open_a_breaker(step: Step) -> None:
    with FaultServer(default=step) as server:
        router = Router(candidates=[candidate(server, "lean", "m")])
        for _ in range(20):
            with pytest.raises(NearfarError):
                await router.ainvoke("x")
        assert len(server.requests) == 20
    assert router.health()["m"].state == "closed"


async def test_when_all_are_open_one_that_works_again_is_found_at_once() -> None:
    with FaultServer(*[Status(503)] * 2, default=OK) as server:
        only = candidate(server, "lean", "m")
        only.breaker.options = BreakerOptions(failures=2, open_s=60, max_open_s=60)
        router = Router(candidates=[only], options=RouterOptions(deadline_s=20))
        with pytest.raises(NearfarError):
            await router.ainvoke("x")
        assert router.health()["m"].state == "open"
        assert (await router.ainvoke("x")).text == OK.text
    assert router.health()["m"].state == "closed"
