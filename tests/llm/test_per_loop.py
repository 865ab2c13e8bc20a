"""What belongs to an event loop is made once for each, and closed with it."""

import asyncio

import pytest

from nearfar.llm.per_loop import PerLoop


class Pools:
    """Counts what is made and closed."""

    def __init__(self, failures: int = 0) -> None:
        self.made: list[object] = []
        self.closed: list[object] = []
        self._failures = failures

    async def make(self) -> object:
        await asyncio.sleep(0)
        if self._failures:
            self._failures -= 1
            raise ConnectionError
        self.made.append(object())
        return self.made[-1]

    async def close(self, pool: object) -> None:
        self.closed.append(pool)


def test_each_loop_has_one_however_many_ask_at_once_and_it_is_closed_with_the_loop() -> None:
    pools = Pools()
    of_loop = PerLoop(pools.make, pools.close)

    async def several() -> set[object]:
        return {*await asyncio.gather(*(of_loop.get() for _ in range(5))), await of_loop.get()}

    for number in (1, 2):
        assert asyncio.run(several()) == {pools.made[-1]}
        assert len(pools.made) == number
        assert pools.closed == pools.made


def test_it_is_closed_with_its_loop_also_where_its_maker_is_gone() -> None:
    pools = Pools()

    async def once() -> None:
        await PerLoop(pools.make, pools.close).get()

    asyncio.run(once())
    assert pools.closed == pools.made


def test_what_could_not_be_made_is_tried_again() -> None:
    pools = Pools(failures=1)
    of_loop = PerLoop(pools.make, pools.close)

    async def twice() -> None:
        with pytest.raises(ConnectionError):
            await of_loop.get()
        assert await of_loop.get() in pools.made

    asyncio.run(twice())
    assert pools.closed == pools.made


def test_one_who_is_cancelled_does_not_take_it_from_the_others() -> None:
    pools = Pools()
    of_loop = PerLoop(pools.make, pools.close)

    async def run() -> None:
        first, second = (asyncio.ensure_future(of_loop.get()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second in pools.made

    asyncio.run(run())
