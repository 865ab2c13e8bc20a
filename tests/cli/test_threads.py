"""The executor of the command line: calls run, fail and are waited for, until they are abandoned."""

import asyncio
import threading

import pytest

from nearfar.cli.threads import AT_ONCE, DaemonThreads


def test_calls_give_their_results_and_errors() -> None:
    threads = DaemonThreads()
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result()


def test_no_more_run_at_once_than_allowed() -> None:
    threads = DaemonThreads()
    release = threading.Event()
    begun = threading.Semaphore(0)

    def work() -> None:
        begun.release()
        release.wait(30)

    futures = [threads.submit(work) for _ in range(AT_ONCE + 3)]
    for _ in range(AT_ONCE):
        assert begun.acquire(timeout=30)
    assert not begun.acquire(blocking=False)
    release.set()
    for future in futures:
        future.result(timeout=30)


def test_the_loop_waits_for_what_runs_unless_it_was_abandoned() -> None:
    done: list[int] = []
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(DaemonThreads())

        async def start() -> None:
            asyncio.get_running_loop().run_in_executor(None, done.append, 1)

        runner.run(start())
    assert done == [1]

    threads, never = DaemonThreads(), threading.Event()
    threads.submit(never.wait)
    threads.abandon()
    threads.shutdown()
    never.set()
