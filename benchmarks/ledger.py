"""What the ledger costs a call: operations with 100,000 rows, alone and with four processes at it.

    python benchmarks/ledger.py [--rows N] [--calls N]

Prints milliseconds: median, p95 and p99. Targets: each operation < 5 ms at p95; a budget adds at most
0.5 ms to a call; a line without a budget costs its caller less than 0.3 ms.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from nearfar.llm.money import Budget, Call, Entry, Ledger, Price, Till
from nearfar.llm.money.entries import insert
from nearfar.llm.money.report import budgets, costs
from nearfar.settings import Settings
from nearfar.storage import transaction

BUDGET = Budget("b", Decimal(1_000_000), per="total")
PRICE = Price(Decimal("0.25"), Decimal(2))
USAGE = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
CALL = Call("m", "openai", PRICE, lambda: 1_000, max_output_tokens=500, run_id="r")


def fill(ledger: Ledger, rows: int) -> None:
    """Lines of 30 days, 5 models and 1,000 runs."""
    now = time.time()

    def work(connection: object) -> None:
        for n in range(rows):
            at = now - n % 30 * 86_400
            line = Entry(f"model-{n % 5}", "openai", 900, 90, Decimal("0.0004"), "x", at=at)
            insert(connection, line, "b", "total")  # type: ignore[arg-type]

    ledger.standing(BUDGET, "total")
    from nearfar.llm.money.book import open_ledger

    connection = open_ledger(ledger.path)
    with transaction(connection):
        work(connection)
    connection.close()


def show(name: str, seconds: list[float]) -> None:
    """One line of the table."""
    quantiles = statistics.quantiles(seconds, n=100)
    cells = (statistics.median(seconds), quantiles[94], quantiles[98])
    print(f"{name:<44}" + "".join(f"{1000 * cell:>9.3f}" for cell in cells), flush=True)


def measure(name: str, times: int, work: Callable[[], object]) -> None:
    """Time ``work`` so many times."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    show(name, found)


async def ameasure(times: int, work: Callable[[], Awaitable[object]]) -> list[float]:
    """As ``measure``, on an event loop; without the line."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        found.append(time.perf_counter() - start)
    return found


async def pay(till: Till) -> None:
    """What a router does for a call: reserve, settle."""
    held = await till.before(CALL)
    await held.settle(USAGE)  # type: ignore[arg-type]  # a UsageMetadata


def alone(ledger: Ledger, calls: int) -> None:
    """One process."""
    print(f"{'milliseconds':<44}{'median':>9}{'p95':>9}{'p99':>9}")
    limited, free = Till(ledger, BUDGET), Till(ledger)
    show(
        "reserve + settle (a call with a budget)",
        asyncio.run(ameasure(calls, lambda: pay(limited))),
    )
    show("a line (a call without a budget)", asyncio.run(ameasure(calls, lambda: pay(free))))
    ledger.flush()
    measure("where a budget stands", calls, lambda: ledger.standing(BUDGET, "total"))
    measure("recover, nothing to do", 200, ledger.recover)
    measure("costs by model", 200, lambda: costs(ledger))
    measure("costs by day", 200, lambda: costs(ledger, "day"))
    settings = Settings.model_validate({"budgets": {"b": {"limit_usd": 1, "per": "total"}}})
    measure("costs budget", 200, lambda: budgets(ledger, settings))


def together(path: Path, calls: int) -> None:
    """Four processes that do nothing but pay: far more than any of them would."""
    command = [sys.executable, __file__, "--as-one-of-four", str(path), "--calls", str(calls)]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [float(x) for p in programs for x in p.communicate()[0].split()]
    show("reserve + settle, four processes at once", found)


def main() -> None:
    """Fill, measure, print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--calls", type=int, default=2_000)
    arguments.add_argument("--as-one-of-four", type=Path)
    given = arguments.parse_args()
    if given.as_one_of_four:
        ledger = Ledger(given.as_one_of_four)
        till = Till(ledger, BUDGET)
        print(*asyncio.run(ameasure(given.calls, lambda: pay(till))))
        ledger.close()
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEARFAR_HOME"] = folder
        ledger = Ledger.open(Settings())
        fill(ledger, given.rows)
        print(f"{given.rows} rows, {ledger.path.stat().st_size / 2**20:.1f} MiB")
        alone(ledger, given.calls)
        together(ledger.path, given.calls // 4)
        ledger.close()


if __name__ == "__main__":
    main()
