"""LangChain tools as effects."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from langchain_core.tools import BaseTool

from nearfar.storage.effects.once import Act, aonce, once, tool_mark
from nearfar.storage.effects.place import here
from nearfar.tools.base import GuardedTool, Outside

T = TypeVar("T", bound=BaseTool)
Declare = Callable[[Mapping[str, Any]], tuple[Act, str | None]]

_call_id: ContextVar[str | None] = ContextVar("nearfar_effect_call", default=None)
_inside: ContextVar[int | None] = ContextVar("nearfar_effect_tool", default=None)


def as_effect(tool: T, declare: Declare) -> T:
    """A copy of the tool whose body runs once for each call; the tool itself stays as it is."""
    copy = tool.model_copy()
    copy.__class__ = _subclass(type(tool), declare)
    return copy


def guarded_as_effect(tool: GuardedTool) -> GuardedTool:
    """One of ours knows which part of it reaches outside: what comes after the permission."""
    guard = tool.guard if tool.guard.outside else replace(tool.guard, outside=Outside())
    return tool.model_copy(update={"guard": guard})


def _subclass(kind: Any, declare: Declare) -> Any:
    class EffectTool(kind):  # type: ignore[misc]
        """The tool's own class, with a body that looks first whether it has run."""

        def run(self, given: Any, *args: Any, tool_call_id: str | None = None, **kw: Any) -> Any:
            token = _call_id.set(tool_call_id)
            try:
                return super().run(given, *args, tool_call_id=tool_call_id, **kw)
            finally:
                _call_id.reset(token)

        async def arun(
            self, given: Any, *args: Any, tool_call_id: str | None = None, **kw: Any
        ) -> Any:
            token = _call_id.set(tool_call_id)
            try:
                return await super().arun(given, *args, tool_call_id=tool_call_id, **kw)
            finally:
                _call_id.reset(token)

        @wraps(kind._run)  # noqa: SLF001  (the method that a tool's author writes)
        def _run(self, *args: Any, **kwargs: Any) -> Any:
            body = super()._run
            place = here()
            if place is None or _inside.get() == id(self):
                return body(*args, **kwargs)
            named = _arguments(self, args, kwargs)
            act, own = declare(named)
            mark = own or tool_mark(place, _call_id.get(), named)
            token = _inside.set(id(self))
            try:
                return _shaped(self, once(act, place, named, mark, lambda: body(*args, **kwargs)))
            finally:
                _inside.reset(token)

        @wraps(kind._arun)  # noqa: SLF001
        async def _arun(self, *args: Any, **kwargs: Any) -> Any:
            body = super()._arun
            place = here()
            if place is None or _inside.get() == id(self):
                return await body(*args, **kwargs)
            named = _arguments(self, args, kwargs)
            act, own = declare(named)
            mark = own or tool_mark(place, _call_id.get(), named)
            token = _inside.set(id(self))
            try:
                value = await aonce(act, place, named, mark, lambda: body(*args, **kwargs))
                return _shaped(self, value)
            finally:
                _inside.reset(token)

    EffectTool.__name__, EffectTool.__qualname__ = kind.__name__, kind.__qualname__
    return EffectTool


def _arguments(tool: BaseTool, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the model gave; not what LangChain and LangGraph inject."""
    schema: Any = tool.tool_call_schema
    known = schema.get("properties", {}) if isinstance(schema, dict) else schema.model_fields
    named = {name: value for name, value in kwargs.items() if name in known}
    return {**named, "input": list(args)} if args else named


def _shaped(tool: BaseTool, value: Any) -> Any:
    """Content and artifact must be a tuple; what was kept of one is a list."""
    pair = tool.response_format == "content_and_artifact" and isinstance(value, list)
    return tuple(value) if pair else value
