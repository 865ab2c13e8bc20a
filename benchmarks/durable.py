"""What it costs to keep a graph's steps: LangGraph with its own SQLite checkpointer against ours.

    python -m benchmarks.durable [--rounds N] [--turns N] [--quick] [--json]

All in one process, in turns, so that whatever else the machine does meets all; medians over the
rounds. Processor time is the whole process's, LangGraph's own share included; what the same graph
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
from pathlib import Path
from typing import Any

from benchmarks import _durable_graphs as graphs
from benchmarks._report import Row, median, show
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from nearfar import Runner
from nearfar.settings import Settings
from nearfar.storage.checkpoints import open_saver

WIDTH = 1_000
STEPS = 100
FIRST, LATER = 50, 1_000  # the turns that are compared

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
    return {way: {k: median(v) for k, v in cells.items()} for way, cells in found.items()}


async def converse(
    opened: AbstractAsyncContextManager[Any], path: Path, turns: int
) -> dict[str, float]:
    """A thread of two messages a turn: its size, and milliseconds of an early and of a late turn."""
    spent: list[tuple[float, float]] = []
    async with opened as saver:
        graph = graphs.chat.copy({"checkpointer": saver})
        for n in range(turns):
            given = {"messages": [HumanMessage("a question of some length " * 8)]}
            wall, used = time.perf_counter(), time.process_time()
            await graph.ainvoke(given, {"configurable": {"thread_id": "t"}}, durability="sync")
            spent.append((time.perf_counter() - wall, time.process_time() - used))
            if n == turns // 2:
                half = size(path)
    early = spent[max(0, FIRST - 5) : FIRST + 5]
    late = spent[-10:]
    return {
        "mb": size(path) / 2**20,
        "kb_a_turn": (size(path) - half) / (turns - turns // 2) / 1024,
        "early": median(s[1] for s in early) * 1e3,
        "late": median(s[1] for s in late) * 1e3,
        "early_wall": median(s[0] for s in early) * 1e3,
        "late_wall": median(s[0] for s in late) * 1e3,
    }


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
        kept = (mine - floor) / (theirs - floor)
        rows.append(Row(f"{name}, cpu of the keeping alone, ours / LangGraph's", kept, "", target))
        walls = [cells[way][f"{name} wall"] for way in ("our runner", "LangGraph's")]
        rows.append(Row(f"{name}, wall, our runner / LangGraph's", walls[0] / walls[1], "", 1.1))
    mine_at, plain_at = file(), file()
    talk = await converse(open_saver(ours(mine_at)), mine_at, turns)
    few = min(turns, 200)  # its size grows with the square
    plain = await converse(AsyncSqliteSaver.from_conn_string(str(plain_at)), plain_at, few)
    rows += [
        Row(f"thread of {2 * turns} messages, ours", talk["mb"], "MB", 20),
        Row(f"thread of {2 * few} messages, LangGraph's", plain["mb"], "MB"),
        Row("growth a turn, ours", talk["kb_a_turn"], "KB"),
        Row(f"growth a turn, LangGraph's, around turn {few}", plain["kb_a_turn"], "KB"),
        Row(f"turn {FIRST}: cpu", talk["early"], "ms"),
        Row(f"turn {turns}: cpu", talk["late"], "ms"),
        Row(f"turn {turns} / turn {FIRST}, cpu", talk["late"] / talk["early"], "", 2),
        Row(f"turn {turns} / turn {FIRST}, wall", talk["late_wall"] / talk["early_wall"], "", 2),
    ]
    return rows, {"cells": cells, "rounds": rounds, "turns": turns}


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
