"""Tools whose body reaches outside: once for each call, whatever becomes of the process."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nearfar.errors import (
    FetchError,
    NearfarError,
    ToolDeniedError,
    ToolFailedError,
    ToolLimitError,
    ToolRefusedError,
    UrlRefusedError,
)
from nearfar.storage.effects.certainty import surely_not_done

from .result import Result

Value = Mapping[str, Any]  # a Result's fields


@dataclass(frozen=True)
class Outside:
    """In a graph whose state is kept, the body is called once for each call of the tool.

    ``when`` says for which arguments (unset: all). ``find_out`` is called with the arguments of a
    call whose outcome was lost, and gives Done(text), NOT_DONE, or None where it cannot say.
    """

    when: Callable[..., bool] | None = None
    find_out: Callable[..., Any] | None = None


def once_each(
    tool: str,
    outside: Outside | None,
    arguments: dict[str, Any],
    call_id: str | None,
    work: Callable[[], Any],
) -> Any:
    """What ``work`` returns, or returned in an earlier attempt at this step."""
    from nearfar.storage.effects.once import once, tool_mark
    from nearfar.storage.effects.place import here

    place = here() if _reaches_outside(outside, arguments) else None
    if place is None:
        return work()
    mark = tool_mark(place, call_id, arguments)
    act = _act(tool, outside, arguments)
    return _result(once(act, place, arguments, mark, lambda: _plain(work())))


async def aonce_each(
    tool: str,
    outside: Outside | None,
    arguments: dict[str, Any],
    call_id: str | None,
    work: Callable[[], Awaitable[Any]],
) -> Any:
    """As ``once_each``."""
    from nearfar.storage.effects.once import aonce, tool_mark
    from nearfar.storage.effects.place import here

    place = here() if _reaches_outside(outside, arguments) else None
    if place is None:
        return await work()

    async def plain() -> Any:
        return _plain(await work())

    mark = tool_mark(place, call_id, arguments)
    return _result(await aonce(_act(tool, outside, arguments), place, arguments, mark, plain))


def _reaches_outside(outside: Outside | None, arguments: dict[str, Any]) -> bool:
    return outside is not None and (outside.when is None or outside.when(**arguments))


def _act(tool: str, outside: Outside | None, arguments: dict[str, Any]) -> Any:
    from nearfar.storage.effects.once import Act

    ask = outside.find_out if outside else None
    find_out = None if ask is None else lambda _key: ask(**arguments)
    return Act(tool, find_out=find_out, not_done=nothing_was_done)


def nothing_was_done(error: BaseException) -> bool:
    """Whether a tool's error says for sure that the outside is as it was."""
    status = error.data.get("status") if isinstance(error, NearfarError) else None
    if isinstance(error, UrlRefusedError):
        return error.data.get("reason") != "redirect"  # it may have been done before it redirected
    if isinstance(error, ToolFailedError):
        return not isinstance(status, int) or 400 <= status < 500
    if isinstance(error, FetchError):
        return error.data.get("reason") in ("connection", "name", "certificate")
    if isinstance(error, ToolRefusedError | ToolDeniedError | ToolLimitError):
        return True
    return surely_not_done(error)


def _plain(value: Any) -> Any:
    if not isinstance(value, Result):
        return value
    return {"text": value.text, "source": value.source, "data": value.data}


def _result(value: Any) -> Any:
    return Result(**value) if isinstance(value, dict) else value
