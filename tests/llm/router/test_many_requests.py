"""Many requests while one of three upstreams is dead, and then comes and goes."""

import asyncio
import itertools

import pytest

from nearfar.errors import NearfarError
from nearfar.llm.router import BreakerOptions, Router
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest, Status, Step

from .upstreams import PATIENT, candidate

AT_ONCE = 8
OK = Reply("one two three")


@pytest.mark.parametrize(
    "requests", [500, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
async def test_a_dead_upstream_costs_no_answers_and_is_left_alone(requests: int) -> None:
    asked = itertools.count()

    def dying(request: SeenRequest) -> Step:
        """Dead for the first half of all requests, then five good ones and five bad ones in turn."""
        return Status(503) if done < requests / 2 or next(asked) % 10 < 5 else OK

    done = failed = 0
    with (
        FaultServer(default=dying) as bad,
        FaultServer(default=OK) as b,
        FaultServer(default=OK) as c,
    ):
        router = Router(
            candidates=[candidate(s, "lean", n) for s, n in ((bad, "bad"), (b, "b"), (c, "c"))],
            options=PATIENT,
        )
        breaker = router.candidates[0].breaker
        breaker.options = BreakerOptions(failures=5, open_s=0.1, max_open_s=0.4)

        async def work() -> None:
            nonlocal done, failed
            while done < requests:
                done += 1
                try:
                    reply = await router.ainvoke("x")
                except NearfarError:
                    failed += 1
                else:
                    assert reply.text == OK.text

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        health = breaker.health()
        in_first_half = [r for r in bad.requests if isinstance(r.step, Status)]
    assert failed <= requests / 1000
    assert health.opened >= 1
    opened_first = 5 + AT_ONCE
    closed = sum(state == "closed" for _, state in health.history) or health.opened
    assert len(in_first_half) <= opened_first * (1 + closed) + health.opened


async def test_a_dead_upstream_sees_one_probe_in_each_window() -> None:
    with FaultServer(default=Status(503)) as dead, FaultServer(default=OK) as other:
        router = Router(candidates=[candidate(dead, "lean", "a"), candidate(other, "lean", "b")])
        breaker = router.candidates[0].breaker
        breaker.options = BreakerOptions(failures=5, open_s=0.05, max_open_s=0.2)
        for _ in range(6):
            await router.ainvoke("x")
        before = len(dead.requests)
        opened_before = breaker.health().opened
        for _ in range(15):
            await asyncio.gather(*(router.ainvoke("x") for _ in range(10)))
        assert breaker.health().opened > opened_before
        assert len(dead.requests) - before <= breaker.health().opened - opened_before + 1
