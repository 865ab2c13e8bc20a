"""Runs Runners in children that are forked from one warmed process; some kill themselves.

Started by the tests; it reads one JSON object a line and answers with one.
"""

import asyncio
import contextlib
import functools
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nearfar
from nearfar.errors import ScheduleExistsError
from nearfar.graphs.runtime import machine
from nearfar.graphs.runtime.schedules import Schedules
from nearfar.settings import Settings
from nearfar.storage.checkpoints.postgres import PostgresSaver
from nearfar.storage.checkpoints.sqlite import SqliteSaver
from nearfar.storage.effects import EffectStore
from nearfar.storage.journal import Journal
from tests.graphs.runtime import effect_flow, kill_flow

FLOW = kill_flow.__name__
QUIET = {"__interrupt__", "__resume__", "__error__", "__scheduled__", "__no_writes__"}


class Boundaries:
    """Counts the moments before and after each write, and kills the process at one of them."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self.die_at = die_at

    def reach(self) -> None:
        self.count += 1
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, kind: type, name: str) -> None:
        """Patch a method of the store: in this child alone."""
        original: Callable[..., Any] = getattr(kind, name)

        async def wrapped(store: Any, *args: Any, **kwargs: Any) -> Any:
            self.reach()
            result = await original(store, *args, **kwargs)
            if name == "aput_writes":
                note(*args)
            self.reach()
            return result

        setattr(kind, name, wrapped)


def note(config: Any, writes: Any, task_id: str, *_: Any) -> None:
    """A task whose results are kept is finished: it must not begin again."""
    if any(channel not in QUIET for channel, _ in writes):
        kill_flow.log(f"kept {config['configurable']['thread_id']} {task_id}")


def watched(die_at: int) -> Boundaries:
    boundaries = Boundaries(die_at)
    for name in ("aput", "aput_writes"):
        boundaries.around(SqliteSaver, name)
        boundaries.around(PostgresSaver, name)
    for name in ("accept", "claim", "note", "finish", "again"):
        boundaries.around(Journal, name)
    return boundaries


async def one(task: dict[str, Any]) -> dict[str, Any]:
    """Start the run, or go on with it, answer what it asks, and say how it ended."""
    boundaries = watched(task.get("die_at", 0))
    async with nearfar.Runner() as runner:
        flow = f"{FLOW}:{task['graph']}"
        run = await runner.start(flow, {"number": 1}, idempotency_key="it")
        record = await run.settled()
        while record.status == "waiting":
            [question] = record.questions
            kill_flow.log(f"asked {question['value']}")
            answer = question["value"].removesuffix("?") if question["id"] else None
            await runner.resume(run.id, answer)
            record = await run.settled()
        runs = len(await runner.list())
    return {
        "status": record.status,
        "output": record.output,
        "error": record.error,
        "runs": runs,
        "boundaries": boundaries.count,
    }


async def many(task: dict[str, Any]) -> dict[str, Any]:
    """Start so many runs (those that were started before stay the same), and wait for all."""
    watched(0)
    async with nearfar.Runner() as runner:
        graphs = [graph for graph in kill_flow.TRAILS if graph not in ("asks", "stops")]
        runs = []
        for number in range(task["runs"]):
            flow = f"{FLOW}:{graphs[number % 4]}"
            runs.append(
                await runner.start(flow, {"number": number}, idempotency_key=f"run {number}")
            )
        outputs = await asyncio.gather(*(run.result() for run in runs))
        listed = await runner.list()
    return {"outputs": outputs, "runs": len(listed)}


async def speak(task: dict[str, Any]) -> dict[str, Any]:
    """Some writers, who each take some turns on one thread."""
    async with nearfar.Runner() as runner:

        async def write(writer: str) -> None:
            for _ in range(task["rounds"]):
                given = {"writer": writer}
                await (await runner.start(f"{FLOW}:talk", given, thread_id="one")).result()

        await asyncio.gather(*(write(writer) for writer in task["writers"]))
    return {}


async def hold(task: dict[str, Any]) -> dict[str, Any]:
    """A run that is held up in a step, with a short lease."""
    settings = Settings.model_validate({"runs": {"lease_s": 0.4}})
    async with nearfar.Runner(settings) as runner:
        run = await runner.start(f"{FLOW}:held", {"writer": "x"}, idempotency_key="it")
        output = await run.result()
        record = await run.record()
        points = await runner.checkpoints(record)
    return {"output": output, "attempt": record.attempt, "points": len(points)}


async def schedule(task: dict[str, Any]) -> dict[str, Any]:
    """A schedule that is due; dies ``before`` its run is accepted or right ``after``."""
    due = datetime(2030, 1, 31, 9, tzinfo=UTC).timestamp()
    async with nearfar.Runner() as runner:
        made = Schedules(runner, clock=lambda: due - 60)
        with contextlib.suppress(ScheduleExistsError):
            await made.add("s", f"{FLOW}:linear", {"number": 1}, cron="0 9 * * *", zone="UTC")
        if "die" in task:
            accept, kill = runner.journal.accept, functools.partial(os.kill, os.getpid(), 9)

            async def dying(*args: Any, **kwargs: Any) -> Any:
                if task["die"] == "before":
                    kill()
                await accept(*args, **kwargs)
                kill()

            runner.journal.accept = dying  # type: ignore[method-assign]
        await runner.schedules.tick(due + 1)
        await runner.schedules.tick(due + 2)
        runs = await runner.list()
        records = [await run.settled() for run in runs]
        fired = (await runner.schedules.get("s")).fired
    return {
        "keys": [record.idempotency_key for record in records],
        "statuses": [record.status for record in records],
        "fired": fired,
    }


async def effect(task: dict[str, Any]) -> dict[str, Any]:
    """A run around an effect; dies at its ``die_at`` (a method, before or after its nth call)."""
    if task.get("die_at"):
        die_around(*task["die_at"].split(":"), nth=task.get("nth", 1))
    async with nearfar.Runner() as runner:
        flow = f"{effect_flow.__name__}:{task['graph']}"
        run = await runner.start(flow, {"what": "it"}, idempotency_key="it")
        record = await run.settled()
    return {"run_id": run.id, "status": record.status, "output": record.output}


def die_around(name: str, side: str, *, nth: int) -> None:
    place: Any = effect_flow if name == "_ask" else EffectStore
    method, left = getattr(place, name), [nth]

    def dying(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, name, dying)


async def worker(task: dict[str, Any]) -> dict[str, Any]:
    """What ``nearfar worker`` does."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await machine.work(nearfar.load_settings(), stop, concurrency=task["slots"])
    return {}


WORK = {
    "one": one,
    "many": many,
    "speak": speak,
    "hold": hold,
    "effect": effect,
    "schedule": schedule,
    "worker": worker,
}


def in_child(task: dict[str, Any]) -> None:
    os.environ.update(task["environ"])
    if task.get("die_after_s"):
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, task["die_after_s"])
    told = asyncio.run(WORK[task["what"]](task))
    Path(task["answer"]).write_text(json.dumps(told), encoding="utf-8")


def warm_up() -> None:
    """Import what runs import, so that each child need not; leaves no thread behind."""

    async def run() -> None:
        async with nearfar.Runner() as runner:
            await (await runner.start(f"{FLOW}:linear", {"number": 1})).result()

    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"NEARFAR_HOME": home, "KILL_LOG": f"{home}/log"}
        asyncio.run(run())
        importlib.import_module("nearfar.graphs.runtime.queued")
        deadline = time.monotonic() + 10
        while threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(0.01)  # daemon threads of what was closed


def fork(task: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        in_child(task)
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """``start`` forks a child and gives its id; ``wait`` waits for one, and says what killed it."""
    warm_up()
    for line in sys.stdin:
        wanted = json.loads(line)
        if "start" in wanted:
            told = {"pid": fork(wanted["start"])}
        else:
            _, status = os.waitpid(wanted["wait"], 0)
            told = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
