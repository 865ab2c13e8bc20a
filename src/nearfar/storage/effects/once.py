"""Make a call once, whatever becomes of the process meanwhile."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from langgraph.errors import GraphBubbleUp

from nearfar.errors import EffectNotDoneError, EffectUnknownError, EffectValueError

from .certainty import surely_not_done
from .outcomes import Done, NotDone
from .place import Bound, Place, opened
from .records import Call, Effect, described

_log = logging.getLogger(__name__)

_key: ContextVar[str | None] = ContextVar("nearfar_effect_key", default=None)


class NeedsReconcile(GraphBubbleUp, EffectUnknownError):  # noqa: N818  (control flow)
    """Stops the run: nobody knows whether an effect was done. No retry policy catches it."""


def idempotency_key() -> str | None:
    """The key of the effect that is running, for a far side that honours it; None outside of one."""
    return _key.get()


@dataclass(frozen=True)
class Act:
    """An effect as it was declared.

    ``honoured``: the far side is given the key, so the call may be repeated under it. ``find_out``
    is called where an outcome was lost; None from it means that it is still not known.
    ``not_done`` says of an exception that the effect was surely not done.
    """

    name: str
    honoured: bool = False
    find_out: Callable[[str], Any] | None = None  # called with the idempotency key
    not_done: Callable[[BaseException], bool] = surely_not_done


def call_of(
    act: Act, place: Place, bound: Bound, arguments: dict[str, Any], mark: str | None
) -> Call:
    """What the step is about to call."""
    shown, fingerprint = described(arguments)
    return Call(
        thread_id=place.thread_id,
        scope=place.scope,
        step=place.step,
        name=act.name,
        arguments=shown,
        fingerprint=fingerprint,
        run_id=bound.run_id,
        mark=mark,
    )


def once(
    act: Act, place: Place, arguments: dict[str, Any], mark: str | None, work: Callable[[], Any]
) -> Any:
    """The outcome of ``work``, which is called unless an earlier attempt has called it.

    Raises NeedsReconcile when that cannot be known, and what ``work`` raises.
    """
    with opened() as bound:
        call = call_of(act, place, bound, arguments, mark)
        effect, begun = bound.store.reserve(call, place.attempt)
        if not begun and effect.status != "done":
            found = act.find_out(effect.key) if act.find_out else None
            begun = _found_out(act, bound, effect, found)
        if not begun:
            return _earlier(bound, effect, call)
        token = _key.set(effect.key)
        try:
            value = work()
        except Exception as error:  # the far side is reached by the user's code
            raise _raised(act, bound, effect, error) from error
        finally:
            _key.reset(token)
        bound.store.finish(effect, value)
        return value


async def aonce(
    act: Act,
    place: Place,
    arguments: dict[str, Any],
    mark: str | None,
    work: Callable[[], Awaitable[Any]],
) -> Any:
    """As ``once``. What is cancelled meanwhile stays reserved: its outcome is not known."""
    with opened() as bound:
        call = call_of(act, place, bound, arguments, mark)
        effect, begun = await _reserved(bound, call, place)
        if not begun and effect.status != "done":
            found = act.find_out(effect.key) if act.find_out else None
            found = await found if isinstance(found, Awaitable) else found
            begun = await asyncio.to_thread(_found_out, act, bound, effect, found)
        if not begun:
            return await asyncio.to_thread(_earlier, bound, effect, call)
        token = _key.set(effect.key)
        try:
            value = await work()
        except Exception as error:  # the far side is reached by the user's code
            raise await asyncio.to_thread(_raised, act, bound, effect, error) from error
        finally:
            _key.reset(token)
        # In this thread: once it is done, no cancellation may come between the call and its record.
        bound.store.finish(effect, value)
        return value


async def _reserved(bound: Bound, call: Call, place: Place) -> tuple[Effect, bool]:
    """Reserve in a thread; cancelled meanwhile, it is noted that the call was not made."""
    work = asyncio.ensure_future(asyncio.to_thread(bound.store.reserve, call, place.attempt))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        effect, begun = await work
        if begun:
            bound.store.fail(effect, "failed", "It was cancelled before it began.")
        raise


def _found_out(act: Act, bound: Bound, effect: Effect, found: Any) -> bool:
    """Whether to make the call (again). Raises NeedsReconcile when still nothing is known."""
    if isinstance(found, Done | NotDone):
        bound.store.settle(effect, found, by="callback")
        if isinstance(found, Done):
            return False
    elif found is not None:
        raise TypeError(f"reconcile of {act.name} must return Done(value), NOT_DONE or None")
    elif not act.honoured:
        bound.store.fail(effect, "unknown", effect.error or "The program ended meanwhile.")
        raise needs_reconcile(effect)
    bound.store.begin_again(effect)
    return True


def _earlier(bound: Bound, effect: Effect, call: Call) -> Any:
    """What an earlier attempt's call returned."""
    try:
        value = bound.store.value(effect.key)
    except KeyError:
        raise EffectValueError(
            f"{effect.name} was done in an earlier attempt, and what it returned is not kept.",
            remedy="Return plain values from it; `nearfar runs reconcile ID --done VALUE` gives one.",
            data={"effect": effect.name, "key": effect.key},
        ) from None
    if effect.fingerprint != call.fingerprint and call.mark is None:
        _log.warning(
            "%s was done by an earlier attempt at the step %s with other arguments; it is not "
            "done again",
            call.name,
            call.step,
        )
    return value


def _raised(act: Act, bound: Bound, effect: Effect, error: Exception) -> Exception:
    """What to raise for an exception of the effect, after its outcome is noted."""
    told = f"{type(error).__name__}: {error}".removesuffix(": ")[:500]
    nothing = isinstance(error, GraphBubbleUp | EffectNotDoneError) or act.not_done(error)
    bound.store.fail(effect, "failed" if nothing else "unknown", told)
    return error if nothing or act.honoured else needs_reconcile(effect, told)


def needs_reconcile(effect: Effect, error: str | None = None) -> NeedsReconcile:
    """The exception that stops the run at this effect."""
    why = error or effect.error or "the program ended meanwhile"
    return NeedsReconcile(
        f"Nobody knows whether {effect.name} (step {effect.step}) was done: {why.rstrip('.')}.",
        data={"effect": effect.name, "step": effect.step, "key": effect.key},
    )


def tool_mark(place: Place, call_id: str | None, arguments: Mapping[str, Any]) -> str | None:
    """A model's call of a tool is known by its id; the same id may come again in a later turn."""
    if call_id is None:
        return None
    return f"{place.scope} {call_id} {described(arguments)[1]}"
