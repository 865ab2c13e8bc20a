"""Many machines: what workers are killed at, stopped at or cut off from is neither lost nor done twice."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.settings import Settings
from nearfar.storage.journal import Record
from nearfar.testing.fault_server import FaultServer, Reply
from tests.postgres import PostgresServer

from . import parked_flow, queue_flow
from .children import Child, Children

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork a process")

LONG = [pytest.mark.long, pytest.mark.timeout(1800)]
FLOW = queue_flow.__name__
ROUTER = {"candidates": ["far"], "retries": 0, "breaker": {"open_s": 0.1}}
PRIORITIES = ("batch", "normal", "interactive")


class Machines:
    """Workers in processes of their own, over one database, and who hands them runs."""

    def __init__(self, children: Children, home: Path, lease_s: float) -> None:
        self.children, self.home = children, home
        url = children.url(home)
        self.settings = Settings.model_validate(
            {"storage": {"url": url}, "runs": {"lease_s": lease_s}}
        )
        self.started: list[Child] = []

    def start(self, slots: int, **more: str) -> Child:
        environ = {
            "NEARFAR__RUNS__LEASE_S": str(self.settings.runs.lease_s),
            "NEARFAR__RUNS__MAX_CRASHES": "3",
            "NEARFAR__QUEUE__DRAIN_S": "1",
            **more,
        }
        child = self.children.start(self.home, "worker", slots=slots, environ=environ)
        self.started.append(child)
        return child

    def end(self, child: Child, number: int) -> dict[str, Any] | None:
        os.kill(child.pid, number)
        self.started.remove(child)
        return self.children.wait(child)

    def log(self) -> list[tuple[str, int, int]]:
        """(what, number of the run, process) of each line."""
        path = self.home / "log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(a, int(b), int(c)) for a, b, c in map(str.split, lines)]

    def done(self) -> list[int]:
        return [number for what, number, _ in self.log() if what == "did"]


Make = Callable[..., Machines]


@pytest.fixture
def make(distant: Children, tmp_path: Path) -> Iterator[Make]:
    made: list[Machines] = []

    def machines(lease_s: float = 2.0) -> Machines:
        made.append(Machines(distant, tmp_path, lease_s))
        return made[-1]

    yield machines
    (tmp_path / "go").touch()
    for child in [child for each in made for child in each.started]:
        os.kill(child.pid, signal.SIGKILL)
        distant.wait(child)


@asynccontextmanager
async def office(machines: Machines) -> AsyncIterator[nearfar.Runner]:
    async with nearfar.Runner(machines.settings, work=False) as runner:
        yield runner


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 60) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not await holds():
        assert time.monotonic() - begun < within_s, "it never came to that"
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


async def records(runner: nearfar.Runner) -> list[Record]:
    return await runner.journal.find()


def all_are(runner: nearfar.Runner, *statuses: str) -> Callable[[], Awaitable[bool]]:
    others = {"queued", "running", "waiting", "parked", "failed"} - set(statuses)

    async def holds() -> bool:
        for status in others:
            if await runner.journal.find(status=status, limit=1):
                return False
        return True

    return holds


async def test_the_runs_of_two_killed_workers_go_on_within_two_leases(make: Make) -> None:
    machines, lease_s, runs = make(lease_s=2.0), 2.0, 12
    async with office(machines) as runner:
        workers = [machines.start(slots=12) for _ in range(3)]
        for number in range(runs):
            await runner.start(f"{FLOW}:slow", {"number": number})

        async def all_began() -> bool:
            return sum(what == "began" for what, _, _ in machines.log()) == runs

        await until(all_began)
        held = Counter(pid for _, _, pid in machines.log())
        victims = [child for child in workers if held[child.pid]][:2]
        before = [number for _, number, pid in machines.log() if pid in {v.pid for v in victims}]
        assert before
        for victim in victims:
            assert machines.end(victim, signal.SIGKILL) is None

        async def taken_over() -> bool:
            others = {n for _, n, pid in machines.log() if pid not in {v.pid for v in victims}}
            return set(before) <= others

        took_s = await until(taken_over)
        (machines.home / "go").touch()
        await until(all_are(runner, "succeeded"))
        assert took_s < 2 * lease_s + 1  # a second for a busy machine
    assert sorted(machines.done()) == list(range(runs))


async def test_a_worker_that_is_asked_to_stop_hands_its_runs_to_others(make: Make) -> None:
    machines = make()
    async with office(machines) as runner:
        first = machines.start(slots=2)
        run = await runner.start(f"{FLOW}:slow", {"number": 1})

        async def began() -> bool:
            return len(machines.log()) > 0

        await until(began)
        asked = time.monotonic()
        assert machines.end(first, signal.SIGTERM) == {}
        assert time.monotonic() - asked < 10
        assert await (await runner.get(run.id)).status() == "queued"
        (machines.home / "go").touch()
        machines.start(slots=2)
        await until(all_are(runner, "succeeded"))
        [record] = await records(runner)
        assert (record.attempt, record.crashes) == (2, 0)


@pytest.mark.parametrize(("restarts", "runs"), [(1, 20), pytest.param(10, 500, marks=LONG)])
async def test_a_restart_of_postgres_strands_no_run(
    make: Make, postgres_server: PostgresServer, restarts: int, runs: int
) -> None:
    machines = make()
    (machines.home / "go").touch()
    async with office(machines) as runner:
        for _ in range(2):
            machines.start(slots=4)
        for number in range(runs):
            await runner.start(f"{FLOW}:quick", {"number": number})
            if number == 0:
                await until(all_are(runner, "succeeded"))  # the workers are there
            if number % (runs // restarts) == runs // restarts // 2:
                await asyncio.to_thread(postgres_server.restart, "immediate")
        await until(all_are(runner, "succeeded"), within_s=30)
        found = await records(runner)
    assert len(found) == runs
    assert set(machines.done()) == set(range(runs))


async def test_a_poison_run_is_set_aside_and_delays_no_other(make: Make) -> None:
    machines = make(lease_s=1.0)
    async with office(machines) as runner:
        workers = [machines.start(slots=2) for _ in range(3)]
        poison = await runner.start(f"{FLOW}:poison", {"number": 0})

        async def set_aside() -> bool:
            return await (await runner.get(poison.id)).status() == "failed"

        for number in range(1, 7):
            await runner.start(f"{FLOW}:quick", {"number": number})
        await until(set_aside)
        record = await runner.journal.get(poison.id)
        assert record.error is not None
        assert record.error["code"] == "NF-511"
        await until(all_are(runner, "succeeded", "failed"))
    dead = [child for child in workers if not _lives(child.pid)]
    assert len(dead) <= 2  # from its third time on it dies alone
    assert set(machines.done()) == set(range(1, 7))


def _lives(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_parked_run_goes_on_at_a_worker_when_a_far_model_is_back(make: Make) -> None:
    server = FaultServer(default=Reply("from afar")).start()
    server.stop()
    far = {"provider": "openai-compatible", "model": "m", "base_url": server.openai_url}
    machines = make()
    models = {"NEARFAR__MODELS": json.dumps({"far": {**far, "api_key": "none"}})}
    routers = {"NEARFAR__ROUTERS": json.dumps({"default": ROUTER})}
    machines.start(slots=1, **models, **routers)
    async with office(machines) as runner:
        run = await runner.start(f"{parked_flow.__name__}:make", {})

        async def parked() -> bool:
            return await (await runner.get(run.id)).status() == "parked"

        await until(parked)
        with server:
            await until(all_are(runner, "succeeded"))
        record = await runner.journal.get(run.id)
        assert record.output["told"] == ["near", "from afar"]


@pytest.mark.parametrize(
    ("runs", "workers"), [(120, 2), pytest.param(10_000, 4, marks=LONG)], ids=["few", "many"]
)
async def test_runs_of_many_tenants_go_by_priority_and_in_fair_shares(
    make: Make, runs: int, workers: int
) -> None:
    """The first tenant has as many runs as all others together."""
    machines = make(lease_s=10.0)
    tenants = 4 if runs < 1000 else 20
    async with office(machines) as runner:
        given: dict[int, tuple[str, str]] = {}
        for number in range(runs):
            tenant = 0 if number < runs // 2 else number % tenants
            given[number] = (PRIORITIES[number % 3], f"tenant{tenant}")
            priority, name = given[number]
            await runner.start(f"{FLOW}:quick", {"number": number}, priority=priority, tenant=name)
        for _ in range(workers):
            machines.start(slots=4)
        await until(all_are(runner, "succeeded"), within_s=1200)
    order = machines.done()
    assert sorted(order) == list(range(runs))
    slack = 4 * 4 * workers  # what is under way, or has its ticket, when the next one comes
    for place, rank in enumerate(["interactive", "normal", "batch"]):
        own = [i for i, number in enumerate(order) if given[number][0] == rank]
        assert own[0] >= place * runs // 3 - slack
        assert own[-1] < (place + 1) * runs // 3 + slack
        line = [given[order[i]][1] for i in own]
        # While all wait: until the tenant with the fewest runs has had its last.
        least = min(Counter(line).values())
        shared = line[: least * tenants]
        assert max(Counter(shared).values()) <= 2 * len(shared) / tenants
