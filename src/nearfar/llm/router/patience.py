"""A limit to waiting that costs nothing where there is nothing to wait for."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def in_time(step: Awaitable[T], until: Callable[[], float]) -> T:
    """What ``step`` gives. Raises TimeoutError when it still waits at that time of the loop's clock.

    The pieces of a stream mostly lie there already: no timer is set before ``step`` really waits.
    """
    run = step.__await__()
    try:
        waits_for = next(run)
    except StopIteration as done:
        found: T = done.value
        return found
    async with asyncio.timeout_at(until()):
        rest: T = await _Begun(run, waits_for)
        return rest


class _Begun:
    """The rest of a run that waits for something; what that is goes to the event loop untouched."""

    def __init__(self, run: Generator[Any, Any, Any], waits_for: Any) -> None:
        self._run = run
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001  (the run's to handle)
                    waits_for = self._run.throw(error)
                else:
                    waits_for = next(self._run)
        except StopIteration as done:
            return done.value
