"""A run in a process of its own: what ends that process ends nothing else."""

import asyncio
import contextlib
import multiprocessing

from nearfar.settings import Settings
from nearfar.storage.postgres import loop_factory


async def work_apart(settings: Settings, run_id: str) -> None:
    """Until the run stands still, or its process died. Cancelled, the process is ended."""
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(settings, run_id), daemon=True
    )
    await asyncio.to_thread(process.start)
    try:
        while process.is_alive():  # noqa: ASYNC110  # a process that ends sets no event
            await asyncio.sleep(0.05)
    finally:
        process.terminate()
        process.join(5)
        with contextlib.suppress(ValueError):  # it is still alive
            process.close()


def _work(settings: Settings, run_id: str) -> None:
    with asyncio.Runner(loop_factory=loop_factory(settings)) as loop:
        loop.run(work_on(settings, run_id))


async def work_on(settings: Settings, run_id: str) -> None:
    """Work on one run until it ends, or waits for a person."""
    from .runner import Runner

    async with Runner(settings, adopt=False) as runner:
        runner.worker.own(run_id, stream=False)
        runner.worker.look()
        await (await runner.get(run_id)).settled()
