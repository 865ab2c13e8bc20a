"""What it costs to keep a graph's steps: LangGraph with its own SQLite checkpointer against ours.

    python -m benchmarks.durable [--rounds N] [--turns N] [--quick] [--json]

All in one process, in turns, so that whatever else the machine does meets all; of the rounds the least
processor time (other programs only add to it) and the median of the wall time. Processor time is the whole process's, LangGraph's own share included; what the same graph
costs without any checkpointer is in the table, and what is above it is the keeping.
"""

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _durable_graphs as graphs
from benchmarks._report import Row, median, show
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from nearfar import Runner
from nearfar.settings import Settings
from nearfar.storage.checkpoints import ExtendedSaver, allow_types_of, open_saver

WIDTH = 1_000
STEPS = 100
LIKE_FOR_LIKE = (
    ("both synchronous=FULL, ours / LangGraph's", "ours, power_safe", "LangGraph's"),
    ("both synchronous=NORMAL, ours / LangGraph's", "ours", "LangGraph's, NORMAL"),
)
FIRST, LATER = 50, 1_000  # the turns that are compared

AROUND = 10  # turns before and after those


@dataclass(frozen=True)
class Growth:
    """What a long thread takes."""

    mb: float
    kb_a_turn: float  # its later half
    early_s: float  # of processor time
    late_s: float
    wall: float  # late / early


Play = Callable[[str, Any], Any]
"""Runs the graph of that name on that input, to its end."""


@asynccontextmanager
async def bare() -> AsyncIterator[Play]:
    async def play(name: str, given: Any) -> None:
        await getattr(graphs, name).ainvoke(given, {"recursion_limit": 2 * WIDTH})

    yield play


@asynccontextmanager
async def checkpointed(opened: AbstractAsyncContextManager[Any]) -> AsyncIterator[Play]:
    async with opened as saver:
        count = 0

        async def play(name: str, given: Any) -> None:
            nonlocal count
            count += 1
            graph = getattr(graphs, name).copy({"checkpointer": saver})
            config = {"configurable": {"thread_id": f"{name}{count}"}, "recursion_limit": 2 * WIDTH}
            await graph.ainvoke(given, config, durability="sync")

        yield play


@asynccontextmanager
async def theirs_as_ours(path: str) -> AsyncIterator[Any]:
    """LangGraph's with our default: a commit waits for the operating system, not for the disk."""
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous = NORMAL")
        yield saver


@asynccontextmanager
async def run_by_us(settings: Settings) -> AsyncIterator[Play]:
    async with Runner(settings=settings) as runner:

        async def play(name: str, given: Any) -> None:
            run = await runner.start(name, given)
            await run.result()

        yield play


async def measure(ways: dict[str, Any], rounds: int, width: int) -> dict[str, dict[str, float]]:
    """Microseconds of processor and of wall time a step (chain) and a task (fan), by way."""
    found: dict[str, dict[str, list[float]]] = {}
    work = (("chain", {"x": 0}, STEPS), ("fan", {"results": [], "width": width}, width))
    for n in range(rounds + 1):  # the first warms up
        for way, make in ways.items():
            async with make() as play:
                await play("chat", {"messages": [HumanMessage("warm")]})
                for name, given, count in work:
                    wall, used = time.perf_counter(), time.process_time()
                    await play(name, given)
                    cells = found.setdefault(way, {})
                    if n:
                        spent = (time.process_time() - used, time.perf_counter() - wall)
                        cells.setdefault(f"{name} cpu", []).append(spent[0] / count * 1e6)
                        cells.setdefault(f"{name} wall", []).append(spent[1] / count * 1e6)
    return {
        way: {k: min(v) if k.endswith("cpu") else median(v) for k, v in cells.items()}
        for way, cells in found.items()
    }


Turn = Callable[[str], Any]
"""One turn of the thread of that name: a question and an answer."""

GIVEN = "a question of some length " * 8


@asynccontextmanager
async def by_graph(opened: AbstractAsyncContextManager[Any]) -> AsyncIterator[Turn]:
    async with opened as saver:
        told = isinstance(saver, ExtendedSaver)
        kept = allow_types_of(saver, graphs.chat) if told else saver
        graph = graphs.chat.copy({"checkpointer": kept})

        async def turn(thread: str) -> None:
            config: Any = {"configurable": {"thread_id": thread}}
            await graph.ainvoke({"messages": [HumanMessage(GIVEN)]}, config, durability="sync")

        yield turn


@asynccontextmanager
async def by_runner(settings: Settings) -> AsyncIterator[Turn]:
    async with Runner(settings=settings) as runner:

        async def turn(thread: str) -> None:
            given = {"messages": [HumanMessage(GIVEN)]}
            await (await runner.start("chat", given, thread_id=thread)).result()

        yield turn


async def growth(turning: AbstractAsyncContextManager[Turn], path: Path, turns: int) -> Growth:
    """A thread of two messages a turn; then its last turns and early ones of another, by turns.

    By turns, so that whatever else the machine does meets both; the quickest half of each counts.
    """
    async with turning as turn:
        for n in range(turns - AROUND):
            await turn("long")
            if n == turns // 2:
                half = size(path)
        whole, since = size(path), turns - AROUND - turns // 2 - 1
        for _ in range(FIRST - AROUND):
            await turn("short")
        spent: dict[str, list[tuple[float, float]]] = {"short": [], "long": []}
        for _ in range(2 * AROUND):
            for thread, found in spent.items():
                wall, used = time.perf_counter(), time.process_time()
                await turn(thread)
                found.append((time.process_time() - used, time.perf_counter() - wall))
    cpu, wall_s = (
        {name: median(sorted(one[k] for one in found)[:AROUND]) for name, found in spent.items()}
        for k in (0, 1)
    )
    return Growth(
        whole / 2**20,
        (whole - half) / since / 1024,
        cpu["short"],
        cpu["long"],
        wall_s["long"] / wall_s["short"],
    )


def size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def ours(path: Path, *, power_safe: bool = False) -> Settings:
    names = {name: f"benchmarks._durable_graphs:{name}" for name in ("chain", "fan", "chat")}
    storage = {
        "url": f"sqlite:///{path}",
        "power_safe": power_safe,
        "retention": {"checkpoints": 0},
    }
    return Settings.model_validate({"storage": storage, "workflows": names})


async def report(rounds: int, turns: int, width: int) -> tuple[list[Row], dict[str, Any]]:
    folder = Path(tempfile.mkdtemp())
    count = iter(range(10**6))

    def file() -> Path:
        return folder / f"{next(count)}.db"

    ways = {
        "no checkpointer": bare,
        "LangGraph's": lambda: checkpointed(AsyncSqliteSaver.from_conn_string(str(file()))),
        "LangGraph's, NORMAL": lambda: checkpointed(theirs_as_ours(str(file()))),
        "ours": lambda: checkpointed(open_saver(ours(file()))),
        "ours, power_safe": lambda: checkpointed(open_saver(ours(file(), power_safe=True))),
        "our runner": lambda: run_by_us(ours(file())),
    }
    cells = await measure(ways, rounds, width)
    rows = []
    for name, unit, target in (("chain", "step", 1 / 2), ("fan", "task", 1 / 3)):
        for way in ways:
            for kind in ("cpu", "wall"):
                value = cells[way][f"{name} {kind}"]
                rows.append(Row(f"{name}, {way}: {kind} a {unit}", value, "us"))
        floor = cells["no checkpointer"][f"{name} cpu"]
        theirs, mine = cells["LangGraph's"][f"{name} cpu"], cells["ours"][f"{name} cpu"]
        rows.append(Row(f"{name}, cpu, ours / LangGraph's", mine / theirs, "", target))
        for what, left, right in LIKE_FOR_LIKE:
            ratio = cells[left][f"{name} cpu"] / cells[right][f"{name} cpu"]
            rows.append(Row(f"{name}, cpu, {what}", ratio, ""))
        kept = (mine - floor) / (theirs - floor)
        rows.append(Row(f"{name}, cpu of the keeping alone, ours / LangGraph's", kept, "", target))
        walls = [cells[way][f"{name} wall"] for way in ("our runner", "LangGraph's")]
        rows.append(Row(f"{name}, wall, our runner / LangGraph's", walls[0] / walls[1], "", 1.1))
    return rows + await grown(file, turns), {"cells": cells, "rounds": rounds, "turns": turns}


async def grown(file: Callable[[], Path], turns: int) -> list[Row]:
    """A thread that gets longer: what it takes, and whether its turns cost more."""
    rows = []
    ways = {
        "ours": lambda at: by_graph(open_saver(ours(at))),
        "our runner": lambda at: by_runner(ours(at)),
    }
    for way, make in ways.items():
        at = file()
        found = await growth(make(at), at, turns)
        rows += [
            Row(f"thread of {2 * (turns - AROUND)} messages, {way}", found.mb, "MB", 20),
            Row(f"growth a turn, {way}", found.kb_a_turn, "KB"),
            Row(f"turn {FIRST}, {way}: cpu", found.early_s * 1e3, "ms"),
            Row(f"turn {turns}, {way}: cpu", found.late_s * 1e3, "ms"),
            Row(f"turn {turns} / turn {FIRST}, {way}, cpu", found.late_s / found.early_s, "", 2),
            Row(f"turn {turns} / turn {FIRST}, {way}, wall", found.wall, "", 2),
        ]
    at, few = file(), min(turns, 200)  # its size grows with the square
    plain = await growth(by_graph(AsyncSqliteSaver.from_conn_string(str(at))), at, few)
    rows += [
        Row(f"thread of {2 * (few - AROUND)} messages, LangGraph's", plain.mb, "MB"),
        Row(f"growth a turn, LangGraph's, around turn {few}", plain.kb_a_turn, "KB"),
    ]
    return rows


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--turns", type=int, default=LATER)
    arguments.add_argument("--quick", action="store_true", help="one short round of each")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    rounds, turns, width = given.rounds, given.turns, WIDTH
    if given.quick:
        rounds, turns, width = 1, 2 * FIRST, 50
    os.environ["NEARFAR_HOME"] = tempfile.mkdtemp()
    rows, data = asyncio.run(report(rounds, turns, width))
    show("Durable runs", rows, as_json=given.json, data=data)


if __name__ == "__main__":
    main()
