"""``nearfar.effect``: functions and tools that reach outside, once for each call of a step."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, overload

from langchain_core.tools import BaseTool

from nearfar.storage.effects import NOT_DONE, Done, NotDone
from nearfar.storage.effects.once import Act, NeedsReconcile, aonce, idempotency_key, once
from nearfar.storage.effects.place import here

__all__ = ["NOT_DONE", "Done", "NeedsReconcile", "NotDone", "effect", "idempotency_key"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=BaseTool)

Key = str | Callable[..., str]
Reconcile = Callable[..., "Done | NotDone | Awaitable[Done | NotDone | None] | None"]

_PARAMETER = "idempotency_key"


class _Decorator:
    """What ``effect(...)`` returns."""

    def __init__(self, key: Key | None, reconcile: Reconcile | None) -> None:
        self._key = key
        self._reconcile = reconcile

    @overload
    def __call__(self, target: T) -> T: ...
    @overload
    def __call__(self, target: F) -> F: ...
    def __call__(self, target: Any) -> Any:
        if isinstance(target, BaseTool):
            return self._tool(target)
        if not callable(target):
            raise TypeError("effect() decorates a function or a tool: write @nearfar.effect()")
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            raise TypeError("a generator cannot be an effect: it has no one result")
        return _Function(target, self._key, self._reconcile).wrapped()

    def _tool(self, tool: BaseTool) -> BaseTool:
        from nearfar.tools.base import GuardedTool

        from .effect_tools import as_effect, guarded_as_effect

        if isinstance(tool, GuardedTool):
            if self._key is not None or self._reconcile is not None:
                raise TypeError("a guarded tool says itself what of it is an effect")
            return guarded_as_effect(tool)

        def declare(named: Mapping[str, Any]) -> tuple[Act, str | None]:
            find_out = None
            if self._reconcile is not None:
                reconcile = self._reconcile

                def find_out(key: str) -> Any:
                    return ask_outcome(reconcile, key, (), named)

            return Act(tool.name, find_out=find_out), mark_of(self._key, named, (), named)

        return as_effect(tool, declare)


def effect(key: Key | None = None, reconcile: Reconcile | None = None) -> _Decorator:
    """Make a function or tool run once for each call in a step, whatever becomes of the process.

    A call is written down before it is made, and so is its outcome; when the step is tried again,
    resumed or taken over, the call returns what it returned before. ``key`` (a text with the
    arguments' names in braces, or a function of the arguments) says which calls of a thread are the
    same one; without it the step and the order of its calls say so. A function with a parameter
    ``idempotency_key`` is given one, and promises that the far side honours it: then it is repeated
    when its outcome is lost. Otherwise ``reconcile`` is asked, with the arguments of the call; it
    returns ``Done(value)``, ``NOT_DONE``, or None where it cannot say. Then the run stops with
    status ``reconcile``. Outside of a graph with a checkpointer the function is simply called.
    """
    return _Decorator(key, reconcile)


class _Function:
    """A function that is an effect."""

    def __init__(self, target: Callable[..., Any], key: Key | None, reconcile: Any) -> None:
        self._target = target
        self._key = key
        self._reconcile = reconcile
        self._is_async = inspect.iscoroutinefunction(target)
        if inspect.iscoroutinefunction(reconcile) and not self._is_async:
            raise TypeError("reconcile of a function that is not async cannot be async")
        whole = inspect.signature(target)
        self._honoured = _PARAMETER in whole.parameters
        shown = [p for name, p in whole.parameters.items() if name != _PARAMETER]
        self._signature = whole.replace(parameters=shown)
        self._name = getattr(target, "__qualname__", type(target).__name__)
        self._name = self._name.rpartition("<locals>.")[2]

    def wrapped(self) -> Callable[..., Any]:
        """The function to call in its place; its signature lacks the key."""

        @wraps(self._target)
        def call(*args: Any, **kwargs: Any) -> Any:
            place = here()
            if place is None:
                return self._target(*args, **kwargs, **self._keyed(None))
            act, named, mark = self._declared(args, kwargs)
            return once(act, place, named, mark, lambda: self._work(args, kwargs))

        @wraps(self._target)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            place = here()
            if place is None:
                return await self._target(*args, **kwargs, **self._keyed(None))
            act, named, mark = self._declared(args, kwargs)
            return await aonce(act, place, named, mark, lambda: self._work(args, kwargs))

        chosen: Any = acall if self._is_async else call
        chosen.__signature__ = self._signature
        hints = getattr(self._target, "__annotations__", {})
        chosen.__annotations__ = {name: hint for name, hint in hints.items() if name != _PARAMETER}
        return chosen  # type: ignore[no-any-return]

    def _work(self, args: Any, kwargs: Any) -> Any:
        return self._target(*args, **kwargs, **self._keyed(idempotency_key()))

    def _keyed(self, key: str | None) -> dict[str, Any]:
        """Outside of a run there is no key: the parameter's default, else None."""
        if not self._honoured:
            return {}
        parameter = inspect.signature(self._target).parameters[_PARAMETER]
        if key is None and parameter.default is not parameter.empty:
            return {}
        return {_PARAMETER: key}

    def _declared(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Act, dict[str, Any], str | None]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        named = dict(bound.arguments)
        find_out = None
        if self._reconcile is not None:
            reconcile = self._reconcile

            def find_out(key: str) -> Any:
                return ask_outcome(reconcile, key, args, kwargs)

        act = Act(self._name, honoured=self._honoured, find_out=find_out)
        return act, named, mark_of(self._key, named, args, kwargs)


def mark_of(
    key: Key | None, named: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str | None:
    """The user's own key for a call with these arguments."""
    if key is None:
        return None
    made = key.format(**named) if isinstance(key, str) else key(*args, **kwargs)
    if not isinstance(made, str) or not made:
        raise TypeError(f"the key of an effect must be a text, not {made!r}")
    return made


def ask_outcome(
    reconcile: Reconcile, key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call ``reconcile`` with the call's arguments, and with the key where it takes that."""
    takes_key = _PARAMETER in inspect.signature(reconcile).parameters
    return reconcile(*args, **kwargs, **({_PARAMETER: key} if takes_key else {}))
