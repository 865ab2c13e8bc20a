"""``runner.schedules``: each due time starts its run once, or is accounted for; whoever ticks."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.errors import (
    ScheduleBusyError,
    ScheduleExistsError,
    ScheduleInvalidError,
    ScheduleNotFoundError,
    UsageError,
    WorkflowError,
    WorkflowInputError,
    WorkflowNotFoundError,
)
from nearfar.graphs.runtime.handle import Run
from nearfar.graphs.runtime.machine import work
from nearfar.graphs.runtime.schedules import Schedules, tick
from nearfar.graphs.runtime.schedules.decisions import name_of
from nearfar.graphs.runtime.schedules.service import _times as times_of
from nearfar.storage.schedules import Schedule

from .children import Children

FLOW = """
from typing import TypedDict

from langgraph.graph import START, StateGraph


class Question(TypedDict):
    question: str


class State(TypedDict, total=False):
    question: str
    answer: str


def shout(state):
    return {"answer": state["question"].upper()}


graph = StateGraph(State, input_schema=Question).add_node(shout).add_edge(START, "shout")
"""

START = datetime(2030, 1, 31, 8, 30, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
HOURLY = timedelta(hours=1)
ASKED = {"question": "hi"}


class Clock:
    """The time that the schedules see."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(FLOW, encoding="utf-8")
    return f"{path}:graph"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def runner(clock: Clock) -> AsyncIterator[nearfar.Runner]:
    """Accepts runs, and works on none: a run goes on until the test ends it."""
    async with nearfar.Runner(work=False) as opened:
        opened.schedules = Schedules(opened, clock=clock)
        yield opened


async def ended(run: Run, runner: nearfar.Runner) -> None:
    await runner.cancel(run.id)


async def keys(runner: nearfar.Runner) -> list[str]:
    """Of all runs, the oldest first, without what they have in common."""
    runs = [await run.record() for run in await runner.list()]
    return [str(record.idempotency_key).removeprefix("schedule:s:") for record in runs][::-1]


async def counts(runner: nearfar.Runner) -> tuple[int, int, int, int]:
    found = await runner.schedules.get("s")
    return found.fired, found.missed, found.overlapped, found.failed


@pytest.mark.usefixtures("store")
async def test_a_due_time_starts_one_run_however_many_look(flow: str, clock: Clock) -> None:
    async with nearfar.Runner(work=False) as one, nearfar.Runner(work=False) as other:
        for runner in (one, other):
            runner.schedules = Schedules(runner, clock=clock)
        made = await one.schedules.add("s", flow, ASKED, cron="0 9 * * *", zone="Europe/Berlin")
        assert await other.schedules.list() == [made]
        assert await one.schedules.tick() == []
        due = datetime(2030, 2, 1, 8, tzinfo=UTC).timestamp()
        assert made.next_at == due
        both = (one, other, one, other)
        started = await asyncio.gather(*(tick(runner, due + 1) for runner in both))
        runs = [run for some in started for run in some]
        assert len(runs) == 1
        assert await keys(one) == ["2030-02-01T08:00:00Z"]
        [run] = runs
        record = await run.record()
        assert (record.priority, record.workflow) == ("batch", flow)
        assert one.input_of(record) == ASKED
        assert (await other.schedules.get("s")).last_run_id == run.id
        await ended(run, one)
        await one.schedules.tick(due + 2)
        assert await keys(one) == ["2030-02-01T08:00:00Z"]


async def test_a_run_that_is_still_going_makes_the_next_time_pass(
    flow: str, runner: nearfar.Runner
) -> None:
    await runner.schedules.add("s", flow, ASKED, every=HOURLY)
    [first] = await runner.schedules.tick(START + HOUR)
    assert await runner.schedules.tick(START + 2 * HOUR) == []
    assert await counts(runner) == (1, 0, 1, 0)
    await ended(first, runner)
    assert await runner.schedules.tick(START + 2 * HOUR + 5) == []
    assert len(await runner.schedules.tick(START + 3 * HOUR)) == 1
    assert await counts(runner) == (2, 0, 1, 0)


@pytest.mark.parametrize(
    ("misfire", "late", "times", "counted"),
    [
        ("run-once", 10 * MINUTE, [5], (1, 4, 0, 0)),
        ("skip", 10 * MINUTE, [], (0, 5, 0, 0)),
        ("skip", MINUTE / 2, [5], (1, 4, 0, 0)),
        ("run-all", 10 * MINUTE, [1, 2, 3, 4, 5], (5, 0, 0, 0)),
    ],
)
async def test_times_at_which_nobody_was_there_follow_the_policy(
    flow: str, misfire: str, late: float, times: list[int], counted: tuple[int, ...]
) -> None:
    async with nearfar.Runner(work=False) as runner:
        runner.schedules = Schedules(runner, clock=Clock())
        await runner.schedules.add("s", flow, ASKED, every=HOURLY, misfire=misfire)
        now = START + 5 * HOUR + late
        for _ in range(7):  # one after another: a run that is going is waited for
            started = await runner.schedules.tick(now)
            assert len(started) <= 1
            assert await runner.schedules.tick(now) == []
            for run in started:
                await ended(run, runner)
        assert await keys(runner) == [name_of(START + number * HOUR) for number in times]
        assert await counts(runner) == counted
        assert (await runner.schedules.get("s")).next_at == START + 6 * HOUR


async def test_a_year_of_missed_minutes_is_one_run(flow: str, runner: nearfar.Runner) -> None:
    await runner.schedules.add("s", flow, ASKED, cron="*/10 * * * *", zone="UTC")
    now = START + 30 * DAY + 5
    assert len(await runner.schedules.tick(now)) == 1
    assert await counts(runner) == (1, 30 * 144 - 1, 0, 0)
    assert await keys(runner) == [name_of(START + 30 * DAY)]


async def test_a_clock_that_is_set_back_fires_nothing_twice(
    flow: str, runner: nearfar.Runner
) -> None:
    await runner.schedules.add("s", flow, ASKED, every=HOURLY)
    wrong = START + 300 * DAY
    for now in (START + HOUR, START + HOUR - 1800, START + HOUR, wrong, START + HOUR + 60):
        for run in await runner.schedules.tick(now):
            await ended(run, runner)
    assert await keys(runner) == [name_of(START + HOUR), name_of(wrong)]
    for now in (START + HOUR + 60, START + 2 * HOUR, wrong, wrong + 1, wrong + HOUR):
        for run in await runner.schedules.tick(now):
            await ended(run, runner)
    expected = [START + HOUR, wrong, START + 2 * HOUR, wrong + HOUR]
    assert await keys(runner) == [name_of(at) for at in expected]
    assert (await counts(runner))[0] == len(expected)


async def test_times_while_it_is_paused_do_not_count(
    flow: str, runner: nearfar.Runner, clock: Clock
) -> None:
    await runner.schedules.add("s", flow, ASKED, every=HOURLY, misfire="run-all")
    await runner.schedules.pause("s")
    clock.now = START + 3 * HOUR + 60
    assert await runner.schedules.tick() == []
    assert (await runner.schedules.resume("s")).next_at == START + 4 * HOUR
    assert await runner.schedules.tick() == []
    assert len(await runner.schedules.tick(START + 4 * HOUR)) == 1
    await runner.schedules.remove("s")
    assert await runner.schedules.tick(START + 9 * HOUR) == []
    assert len(await keys(runner)) == 1


async def test_a_run_at_once_leaves_the_times_as_they_are(
    flow: str, runner: nearfar.Runner
) -> None:
    made = await runner.schedules.add("s", flow, ASKED, every=HOURLY, tenant="acme")
    await runner.schedules.pause("s")
    run = await runner.schedules.run_now("s")
    assert (await run.record()).tenant == "acme"
    with pytest.raises(ScheduleBusyError) as caught:
        await runner.schedules.run_now("s")
    assert caught.value.data == {"name": "s", "run_id": run.id}
    await ended(run, runner)
    again = await runner.schedules.run_now("s")
    assert again.id != run.id
    assert (await runner.schedules.get("s")).next_at == made.next_at
    await runner.schedules.resume("s")
    assert await runner.schedules.tick(START + HOUR) == []
    assert await counts(runner) == (0, 0, 1, 0)


async def test_a_workflow_that_is_gone_is_told_and_does_not_stop_the_others(
    flow: str, tmp_path: Path, runner: nearfar.Runner, clock: Clock
) -> None:
    (tmp_path / "other.py").write_text(FLOW, encoding="utf-8")
    await runner.schedules.add("s", f"{tmp_path}/other.py:graph", ASKED, every=HOURLY)
    await runner.schedules.add("t", flow, ASKED, every=HOURLY)
    (tmp_path / "other.py").rename(tmp_path / "moved.py")
    clock.now = START + HOUR
    assert len(await runner.schedules.tick()) == 1
    assert await counts(runner) == (0, 0, 0, 0)  # perhaps another machine has the file
    clock.now += 2 * MINUTE
    assert await runner.schedules.tick() == []
    assert await counts(runner) == (0, 0, 0, 1)
    error = (await runner.schedules.get("s")).last_error
    assert error is not None
    assert "other.py" in error["message"]
    with pytest.raises(WorkflowError, match=r"other\.py"):
        await runner.schedules.run_now("s")
    (tmp_path / "moved.py").rename(tmp_path / "other.py")
    assert len(await runner.schedules.tick(START + 2 * HOUR)) == 1
    assert await counts(runner) == (1, 0, 0, 1)
    assert (await runner.schedules.get("s")).last_error is None


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"workflow": "summarise"}, WorkflowNotFoundError, None),
        ({"input": {"question": 3}}, WorkflowInputError, "question"),
        ({"input": {}}, WorkflowInputError, "question"),
        ({"input": {"question": "hi", "more": 1}}, WorkflowInputError, "more"),
        ({"cron": "0 25 * * *", "every": None}, ScheduleInvalidError, "hour"),
        ({"zone": "Mars/Olympus"}, ScheduleInvalidError, "tz"),
        ({"every": timedelta(milliseconds=10)}, ScheduleInvalidError, "every"),
        ({"every": None}, UsageError, None),
        ({"cron": "0 1 * * *"}, UsageError, None),
        ({"misfire": "sometimes"}, ScheduleInvalidError, "misfire"),
        ({"grace_s": -1.0}, ScheduleInvalidError, "grace"),
        ({"priority": "high"}, UsageError, None),
        ({"name": "a b"}, ScheduleInvalidError, "name"),
    ],
)
async def test_what_cannot_work_is_refused_when_it_is_added(
    flow: str,
    runner: nearfar.Runner,
    changes: dict[str, Any],
    error: type[Exception],
    field: str | None,
) -> None:
    given = {"name": "s", "workflow": flow, "input": ASKED, "every": HOURLY, **changes}
    with pytest.raises(error) as caught:
        await runner.schedules.add(**given)
    if field is not None:
        data = getattr(caught.value, "data", {})
        assert field in (data.get("field"), *data.get("fields", []))
    assert await runner.schedules.list() == []


async def test_a_name_stands_for_one_schedule(flow: str, runner: nearfar.Runner) -> None:
    await runner.schedules.add("s", flow, ASKED, every=HOURLY)
    with pytest.raises(ScheduleExistsError):
        await runner.schedules.add("s", flow, ASKED, every=HOURLY)
    for name in ("pause", "resume", "remove", "run_now"):
        with pytest.raises(ScheduleNotFoundError) as caught:
            await getattr(runner.schedules, name)("t")
        assert caught.value.data["known"] == ["s"]


@pytest.mark.usefixtures("store")
async def test_a_runner_with_schedules_starts_and_does_what_is_due(flow: str) -> None:
    now = datetime.now(UTC).timestamp()
    async with nearfar.Runner(work=False) as runner:
        before = Schedules(runner, clock=lambda: now - 100)
        await before.add("s", flow, ASKED, every=timedelta(seconds=90))
    async with nearfar.Runner(schedules=True) as runner:
        async with asyncio.timeout(20):
            while not (runs := await runner.list()):  # noqa: ASYNC110 - a database's condition
                await asyncio.sleep(0.02)
        assert (await runs[0].result())["answer"] == "HI"


class Crash(BaseException):
    """The process is gone."""


class Shaky(nearfar.Runner):
    """A process that may die right before a scheduled run is started, or right after."""

    chance: random.Random
    often: float = 0.0

    async def start(self, *args: Any, **kwargs: Any) -> Run:
        if self.chance.random() < self.often:
            raise Crash
        run = await super().start(*args, **kwargs)
        if self.chance.random() < self.often:
            raise Crash
        return run


def rules(chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    zones = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York")
    for number in range(3):
        hour = chance.choice(["*", "*/3", "2", "1-4", "0,23"])
        minute = chance.choice(["0", "*/15", "7,37"])
        yield f"cron{number}", {"cron": f"{minute} {hour} * * *", "zone": chance.choice(zones)}
    yield "every", {"every": timedelta(minutes=chance.randint(1, 100))}


def due_times(schedule: Schedule, since: float) -> list[str]:
    """Up to where the schedule is."""
    times = times_of(schedule)
    found = []
    moment = times.after(since)
    while moment is not None and schedule.next_at is not None and moment < schedule.next_at:
        found.append(name_of(moment))
        moment = times.after(moment)
    return found


@pytest.mark.parametrize(
    "seed", [*range(4), *[pytest.param(n, marks=pytest.mark.long) for n in range(4, 60)]]
)
async def test_each_due_time_fires_once_or_is_accounted_for(flow: str, seed: int) -> None:
    """Two processes tick at random moments, over a change of the clock, and die now and then."""
    chance = random.Random(seed)
    since = datetime(2030, 3, 30, 12, tzinfo=UTC).timestamp() + chance.randint(0, 3600)
    now = since
    async with Shaky(work=False) as one, Shaky(work=False) as other:
        for number, runner in enumerate((one, other)):
            runner.chance = random.Random(f"{seed} {number}")
        made = Schedules(one, clock=lambda: since)
        for name, rule in rules(chance):
            misfire = chance.choice(["run-once", "skip", "run-all"])
            await made.add(name, flow, ASKED, misfire=misfire, **rule)
        for _ in range(25):
            now += chance.choice([1, 60, 900, 3600, 20_000]) * chance.random()
            one.often = other.often = 0.2
            ticks = (runner.schedules.tick(now + chance.random()) for runner in (one, other))
            told = await asyncio.gather(*ticks, return_exceptions=True)
            assert all(isinstance(one, list | Crash) for one in told), told
            for run in await one.list(status="queued"):
                if chance.random() < 0.7:
                    await one.cancel(run.id)
        one.often = 0.0
        await one.schedules.tick(now + 1)
        records = [await run.record() for run in await one.list()]
        for schedule in await one.schedules.list():
            assert schedule.pending is None
            due = due_times(schedule, since)
            prefix = schedule.key_of("")
            fired = [
                str(r.idempotency_key) for r in records if str(r.idempotency_key).startswith(prefix)
            ]
            times = [key.removeprefix(prefix) for key in fired]
            assert len(times) == len(set(times)) == schedule.fired
            assert set(times) <= set(due)
            assert schedule.failed == 0
            assert len(due) == schedule.fired + schedule.missed + schedule.overlapped
            if schedule.misfire == "run-all":
                assert schedule.missed == 0
            elif schedule.next_at is not None:
                assert schedule.next_at > now


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork a process")
def test_a_kill_between_firing_and_the_start_of_the_run_fires_once(
    tmp_path: Path, either: Children
) -> None:
    for moment in ("before", "after"):
        assert either.run(tmp_path / moment, "schedule", die=moment) is None
        told = either.run(tmp_path / moment, "schedule")
        assert told is not None
        assert told["keys"] == ["schedule:s:2030-01-31T09:00:00Z"]
        assert told["statuses"] == ["succeeded"]
        assert told["fired"] == 1


async def test_of_many_machines_one_at_a_time_looks_at_the_clock(
    flow: str, postgres_database: str
) -> None:
    from nearfar.graphs.runtime.schedules.queued import ticking
    from nearfar.storage.queue import open_app

    settings = nearfar.Settings.model_validate({"storage": {"url": postgres_database}})
    now = datetime.now(UTC).timestamp()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            runner = await stack.enter_async_context(nearfar.Runner(settings, work=False))
            app = await stack.enter_async_context(open_app(postgres_database))
            await stack.enter_async_context(ticking(app, runner, settings))
        before = Schedules(runner, clock=lambda: now - 100)
        await before.add("s", flow, ASKED, every=timedelta(seconds=1))
        async with asyncio.timeout(30):
            while (await counts(runner))[2] == 0:  # noqa: ASYNC110 - a database's condition
                await asyncio.sleep(0.05)
        [run] = await runner.list()
        assert await run.status() == "queued"  # for the queue to hand out
        assert (await counts(runner))[0] == 1


@pytest.mark.usefixtures("store")
async def test_a_worker_starts_and_does_what_is_due(flow: str) -> None:
    now = datetime.now(UTC).timestamp()
    stop = asyncio.Event()
    async with nearfar.Runner(work=False) as runner:
        before = Schedules(runner, clock=lambda: now - 100)
        await before.add("s", flow, ASKED, every=timedelta(seconds=90))
        worker = asyncio.create_task(work(runner.settings, stop))
        async with asyncio.timeout(30):
            while not await runner.list(status="succeeded"):  # noqa: ASYNC110 - a database's condition
                await asyncio.sleep(0.05)
        stop.set()
        await worker
        [run] = await runner.list()
        assert (await run.result())["answer"] == "HI"
        assert await counts(runner) == (1, 0, 0, 0)
