"""Calls through the router against everything else that one could call a model with, in one run.

    python benchmarks/router.py [--rounds N] [--quick] [--json] [--ways NAME ...] [--litellm PYTHON]

Each way runs in a process of its own against one upstream that answers at once, and they take turns.
LiteLLM is never a dependency: ``--litellm`` names the Python of an environment that has it, and without
that its rows are left out.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from operator import sub, truediv
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from _report import Row, median, quantile, show

HERE = Path(__file__).parent
WAYS = [
    "aiohttp",
    "floor",
    "httpx2",
    "openai",
    "ChatOpenAI",
    "with_fallbacks",
    "LiteLLM",
    "lean",
    "router",
    "router+budget",
    "router/ChatOpenAI",
]
FAILING = ["aiohttp", "with_fallbacks", "LiteLLM", "router"]
FAULTS = ["500", "429", "refused"]
CHUNKS = 100


class Child:
    """A program that answers a line with a line."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self) -> str:
        """Its next line; raises when it has ended."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line[0] in "{0123456789":
                return line
        raise SystemExit(f"{self._process.args!r} ended with {self._process.wait()}")

    def ask(self, **question: Any) -> dict[str, Any]:
        """One question of _calls.py."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.read())
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()


def closed_port() -> int:
    """A port that refuses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


class Figures:
    """What was measured of each way: all rounds' values under (way, name)."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, way: str, name: str, *values: float) -> None:
        self.values[way, name].extend(values)

    def of(self, way: str, name: str) -> float:
        """The median."""
        return median(self.values[way, name])


def measure(children: dict[str, Child], figures: Figures, *, quick: bool) -> None:
    """One round: every way, every measure."""
    n = 20 if quick else 200
    for way, child in children.items():
        found = child.ask(do="one", n=n)
        figures.add(way, "one_ms", *[1000 * s for s in found["seconds"]])
        figures.add(way, "cpu_ms", 1000 * found["cpu_s"])
    for way, child in children.items():
        found = child.ask(do="many", n=64 if quick else 1000, at=32)
        figures.add(way, "per_s", found["per_s"])
        figures.add(way, "at32_ms", *[1000 * s for s in found["seconds"]])
    for way, child in children.items():
        found = child.ask(do="stream", n=2 if quick else 20)
        streams = len(found["first_s"])
        figures.add(way, "chunk_us", 1e6 * found["cpu_s"] / streams / CHUNKS)
        figures.add(way, "first_ms", *[1000 * s for s in found["first_s"]])
    for way, child in children.items():
        found = child.ask(do="short", n=n)
        figures.add(way, "short_ms", *[1000 * s for s in found["seconds"]])


def fail(children: dict[str, Child], figures: Figures, port: int, *, quick: bool) -> None:
    """What a first upstream that fails costs, at default settings."""
    bases = {"refused": f"http://127.0.0.1:{closed_port()}/v1"}
    for fault in FAULTS:
        bad = bases.get(fault, f"http://127.0.0.1:{port}/{fault}/v1")
        for way in FAILING:
            if way in children:
                slow = way in ("with_fallbacks", "LiteLLM")
                times = 1 if quick or slow else 20
                found = children[way].ask(do="failover", n=times, bad=bad)
                figures.add(way, fault, *[1000 * s for s in found["seconds"]])


def import_ratio(rounds: int) -> tuple[float, float]:
    """Processor milliseconds to import the router, and langchain_core's chat models."""
    modules = ("nearfar.llm.router", "langchain_core.language_models.chat_models")
    found: dict[str, list[float]] = {module: [] for module in modules}
    # With the bytecode kept from the first time, as it is for users.
    keeping = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for turn in range(rounds + 1):
        for module, values in found.items():
            code = f"import time, {module}; print(time.process_time())"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, capture_output=True, check=True, env=keeping)
            if turn:
                values.append(1000 * float(done.stdout))
    ours, theirs = (statistics.median(values) for values in found.values())
    return ours, theirs


def rows(figures: Figures, ways: list[str]) -> list[Row]:
    """The figures that are held to a target, of the ways that were measured."""
    of = figures.of
    known: list[tuple[str, str, str, Callable[[float, float], float], str, float, bool]] = [
        ("router / floor, one at a time", "router", "floor", truediv, "one_ms", 1.5, True),
        ("router / floor, calls/s at 32", "router", "floor", truediv, "per_s", 0.7, False),
        (
            "router / LiteLLM Router, one at a time",
            "router",
            "LiteLLM",
            truediv,
            "one_ms",
            1 / 6,
            True,
        ),
        (
            "router / ChatOpenAI, CPU of a chunk",
            "router",
            "ChatOpenAI",
            truediv,
            "chunk_us",
            1 / 3,
            True,
        ),
        ("a budget adds", "router+budget", "router", sub, "one_ms", 0.5, True),
        ("first streamed token, the router adds", "router", "lean", sub, "first_ms", 1, True),
        (
            "the router adds to ChatOpenAI, streams",
            "router/ChatOpenAI",
            "ChatOpenAI",
            sub,
            "short_ms",
            0.4,
            True,
        ),
    ]
    found = [
        Row(
            name,
            how(of(a, figure), of(b, figure)),
            "x" if how is truediv else "ms",
            target,
            at_most=low,
        )
        for name, a, b, how, figure, target, low in known
        if a in ways and b in ways
    ]
    found.extend(
        Row(f"failover after {fault}", of("router", fault), "ms", 3 * of("aiohttp", fault) + 2)
        for fault in FAULTS
        if {"aiohttp", "router"} <= set(ways)
    )
    return found


def table(figures: Figures, ways: list[str]) -> None:
    """Every way and figure, as Markdown."""
    print(
        "| | one ms (p99) | CPU ms | calls/s at 32 | at 32 ms (p99) | CPU us/chunk | first ms | streamed ms |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for way in ways:
        one, together = figures.values[way, "one_ms"], figures.values[way, "at32_ms"]
        cells = [
            f"{median(one):.2f} ({quantile(one, 0.99):.2f})",
            f"{figures.of(way, 'cpu_ms'):.2f}",
            f"{figures.of(way, 'per_s'):,.0f}",
            f"{median(together):.1f} ({quantile(together, 0.99):.1f})",
            f"{figures.of(way, 'chunk_us'):.0f}",
            f"{figures.of(way, 'first_ms'):.2f}",
            f"{figures.of(way, 'short_ms'):.2f}",
        ]
        print(f"| {way} | " + " | ".join(cells) + " |")
    print("\n| failover, ms | " + " | ".join(FAULTS) + " |\n|---|" + "---:|" * len(FAULTS))
    for way in FAILING:
        if way in ways:
            cells = [f"{figures.of(way, fault):.1f}" for fault in FAULTS]
            print(f"| {way} | " + " | ".join(cells) + " |")
    print()


def main() -> None:
    """Start everything, measure in turns, print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--quick", action="store_true", help="a look: few calls, one round")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS, help="only these")
    arguments.add_argument(
        "--litellm", metavar="PYTHON", help="the Python of an environment with litellm"
    )
    given = arguments.parse_args()
    rounds = 1 if given.quick else given.rounds
    ways = [way for way in given.ways if way != "LiteLLM" or given.litellm]
    figures = Figures()
    with (
        tempfile.TemporaryDirectory() as folder,
        Child(sys.executable, str(HERE / "_instant.py")) as upstream,
    ):
        os.environ["NEARFAR_HOME"] = folder
        port = int(upstream.read())
        children = {}
        for way in ways:
            python = given.litellm if way == "LiteLLM" else sys.executable
            url = f"http://127.0.0.1:{port}/good/v1"
            children[way] = Child(python, str(HERE / "_calls.py"), way, url)
            children[way].ask(do="one", n=20)
            children[way].ask(do="stream", n=2)
        for _ in range(rounds):
            measure(children, figures, quick=given.quick)
        fail(children, figures, port, quick=given.quick)
        found = rows(figures, ways)
        memory = children["router"].ask(do="memory")["mib"]
        for child in children.values():
            child.__exit__(None, None, None)
    ours, theirs = import_ratio(1 if given.quick else 7)
    found.append(Row("import, router / langchain_core's chat models", ours / theirs, "x", 1.1))
    found.append(Row("memory of a process with router and ledger", memory, "MiB", 200))
    if not given.json:
        table(figures, ways)
    data = {f"{way}: {name}": median(values) for (way, name), values in figures.values.items()}
    show("Calls to an instant upstream", found, as_json=given.json, data=data)


if __name__ == "__main__":
    main()
