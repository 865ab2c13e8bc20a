"""A tool or a step that ends the program: an error of its own instead.

asyncio lets SystemExit out of a task and into the event loop, which ends with all that runs in it;
whoever awaits the task cannot stop that. So tasks that begin inside of ``exits_contained`` turn what
is no ``Exception`` into one before asyncio sees it.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn

from nearfar.errors import AgentLimitError, ApprovalRequiredError

_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("exits_contained", default=False)
_OURS_TO_KEEP = (Exception, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)


class EscapedError(RuntimeError):
    """In place of SystemExit, and of any other exception that is not meant to be caught."""


def ends_run(error: BaseException) -> bool:
    """Whether a tool's error is for whoever runs the agent, not for the model that called the tool.

    Agents that call each other too deeply are stopped as a whole: a model that is told of it would
    only try once more.
    """
    too_deep = isinstance(error, AgentLimitError) and error.data.get("limit") == "depth"
    return too_deep or isinstance(error, ApprovalRequiredError)


@contextlib.contextmanager
def exits_contained() -> Iterator[None]:
    """What runs in here, also in tasks that it begins, raises nothing worse than EscapedError.

    A person's Ctrl-C and a cancellation stay what they are.
    """
    with contextlib.suppress(RuntimeError):  # no event loop: then there are no tasks either
        _prepare(asyncio.get_running_loop())
    token = _inside.set(True)
    try:
        yield
    except _OURS_TO_KEEP:
        raise
    except BaseException as error:  # noqa: BLE001  # that is what this is for
        _escape(error)
    finally:
        _inside.reset(token)


def _escape(error: BaseException) -> NoReturn:
    if isinstance(error, SystemExit):
        raise EscapedError(f"it tried to end the program (exit code {error.code})") from error
    raise EscapedError(f"{type(error).__name__}: {error}") from error


def _prepare(loop: asyncio.AbstractEventLoop) -> None:
    """Once for each loop; tasks that begin elsewhere are made as before."""
    before: Any = loop.get_task_factory()
    if isinstance(before, _Factory):
        return
    loop.set_task_factory(_Factory(before))


class _Factory:
    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        if _inside.get() and asyncio.iscoroutine(work):
            work = _Contained(work)
        if self._before is not None:
            return self._before(loop, work, **options)
        return asyncio.Task(work, loop=loop, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine as it is, but for what it may raise.

    Not an ``async def`` around it: one that is cancelled before it begins would leave it unawaited.
    """

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

    def __getattr__(self, name: str) -> Any:  # cr_frame and the like, which debuggers read
        return getattr(self._work, name)

    def __await__(self) -> Any:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        """See Coroutine."""
        try:
            return self._work.send(value)
        except _OURS_TO_KEEP:
            raise
        except BaseException as error:  # noqa: BLE001  # that is what this is for
            _escape(error)

    def throw(self, *error: Any) -> Any:
        """See Coroutine."""
        try:
            return self._work.throw(*error)
        except _OURS_TO_KEEP:
            raise
        except BaseException as escaped:  # noqa: BLE001  # that is what this is for
            _escape(escaped)

    def close(self) -> None:
        """See Coroutine."""
        self._work.close()
