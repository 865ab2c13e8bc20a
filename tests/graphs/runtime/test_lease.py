"""One writer per thread: who was paused past its lease, or comes second, writes nothing."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.errors import LeaseLostError
from nearfar.settings import Settings
from nearfar.storage.checkpoints import open_saver
from nearfar.storage.journal import Fence

from . import kill_flow
from .children import Children

LONG = [pytest.mark.long, pytest.mark.timeout(1200)]
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and SIGSTOP")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


async def history(url: str) -> tuple[list[str], list[str]]:
    """What was said on the thread, and the parents of its checkpoints."""
    settings = Settings.model_validate({"storage": {"url": url}})
    async with nearfar.Runner(settings, work=False) as runner:
        record = (await runner.journal.find(thread_id="one", limit=1))[0]
    async with open_saver(settings) as saver:
        points = [p async for p in saver.alist({"configurable": {"thread_id": "one"}})]
    parents = [p.parent_config["configurable"]["checkpoint_id"] for p in points if p.parent_config]
    return record.output["said"], parents


@needs_fork
@pytest.mark.parametrize(("writers", "rounds"), [(6, 3), pytest.param(20, 50, marks=LONG)])
def test_writers_of_two_processes_take_turns_and_leave_one_history(
    either: Children, tmp_path: Path, writers: int, rounds: int
) -> None:
    names = [f"writer{number}" for number in range(writers)]
    halves = (names[: writers // 2], names[writers // 2 :])
    started = [either.start(tmp_path, "speak", writers=half, rounds=rounds) for half in halves]
    assert [either.wait(child) for child in started] == [{}, {}]
    said, parents = asyncio.run(history(either.url(tmp_path)))
    # Each turn saw all turns before it.
    assert [int(word.partition(":")[2]) for word in said] == list(range(writers * rounds))
    assert len(parents) == len(set(parents))


@needs_fork
@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=LONG)])
def test_a_process_paused_past_its_lease_commits_nothing_when_it_wakes(
    either: Children, tmp_path: Path, rounds: int
) -> None:
    for number in range(rounds):
        home = tmp_path / str(number)
        paused = either.start(home, "hold")
        until((home / "held").exists)
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            (home / "go").touch()
            taker = either.start(home, "hold")
            told = either.wait(taker)
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        assert told is not None
        assert told["output"]["said"] == [str(taker.pid), "x:1"]
        # The input, its first step to do, and after each step; one attempt more, no branch.
        assert (told["attempt"], told["points"]) == (2, 4)
        assert either.wait(paused) == told


@pytest.mark.usefixtures("store")
async def test_a_writer_with_an_old_fence_is_refused_inside_the_transaction() -> None:
    async with nearfar.Runner(adopt=False) as runner:
        run = await runner.start(f"{kill_flow.__name__}:talk", {"writer": "x"}, thread_id="t")
        await run.result()
        record = await run.record()
    async with open_saver(nearfar.load_settings(), guard=Fence("t", record.fence)) as saver:
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        kept = await saver.aget_tuple(config)
        assert kept is not None
        with pytest.raises(LeaseLostError):
            await saver.aput(config, kept.checkpoint, {}, {})
        with pytest.raises(LeaseLostError):
            await saver.aput_writes(kept.config, [("said", ["no"])], "task")
