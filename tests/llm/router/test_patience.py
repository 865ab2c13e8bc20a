"""A limit to waiting: only where there is something to wait for, and it leaves nothing running."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from nearfar.llm.router.patience import in_time


def at(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_what_is_there_already_needs_no_timer() -> None:
    async def there() -> int:
        return 7

    def never() -> float:
        raise AssertionError

    assert await in_time(there(), never) == 7
    with pytest.raises(ZeroDivisionError):
        await in_time(fails(), never)


async def fails() -> int:
    return 1 // 0


async def test_a_wait_that_ends_in_time_gives_its_result_or_its_error() -> None:
    async def slowly(then: int) -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 7 // then

    assert await in_time(slowly(1), lambda: at(30)) == 7
    with pytest.raises(ZeroDivisionError):
        await in_time(slowly(0), lambda: at(30))


async def test_a_wait_that_is_too_long_is_cancelled_where_it_waits() -> None:
    ends = []

    async def long() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)  # tidying up may wait too
            ends.append("tidied")

    with pytest.raises(TimeoutError):
        await in_time(long(), lambda: at(0.01))
    assert ends == ["tidied"]


async def test_a_caller_who_is_cancelled_cancels_the_wait() -> None:
    begun, ends = asyncio.Event(), []

    async def long() -> None:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    task = asyncio.ensure_future(in_time(long(), lambda: at(30)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == ["cancelled"]


async def test_pieces_of_a_stream_come_one_by_one_whether_they_are_waited_for_or_not() -> None:
    async def stream() -> AsyncGenerator[int, None]:
        for number in range(6):
            if number % 2:
                await asyncio.sleep(0.001)
            yield number

    source = stream()
    found = []
    while True:
        try:
            found.append(await in_time(anext(source), lambda: at(30)))
        except StopAsyncIteration:
            break
    assert found == list(range(6))
