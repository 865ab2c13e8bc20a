"""``cascade``: a cheap node first, a deterministic check, and only what fails it goes to a better one.

    near = cascade(local_node, valid_json, far_node, name="invoice")

The result is a node like any other. What it does is noted in ``nearfar.db``; ``report`` says how
often the near one was enough and what the rest cost.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs

from nearfar.errors import BudgetExhaustedError, LeaseLostError
from nearfar.settings import Settings, load_settings, resolve
from nearfar.storage.outcomes import CascadeLog, Row

from .plain import strict_json
from .runtime.metering import Meter

Node = Runnable[Any, Any] | Callable[..., Any]
Check = Callable[..., "bool | str | None"]

__all__ = ["Check", "all_of", "at_least", "cascade", "cites", "fits", "passes", "report"]


def cascade(
    node: Node,
    check: Check,
    escalate_to: Node,
    *,
    name: str | None = None,
    settings: Settings | str | Path | None = None,
) -> RunnableLambda[Any, Any]:
    """A node: ``node``'s outcome where ``check`` passes it, else that of ``escalate_to``, once.

    ``check`` is called with the outcome, or with input and outcome where it needs two arguments. It
    must be deterministic; True or None passes; False, a reason (a text) and an exception do not. The outcome of
    ``escalate_to`` is taken as it is, and checked for the record only. A node that raises has not
    passed; what stops a run as a whole (a question to a person, a budget that is used up, a run that
    another took over) is raised. A step that is tried again begins with the near node again.
    """
    return _Cascade(node, check, escalate_to, name, settings).runnable()


@dataclass(frozen=True)
class _Side:
    outcome: Any
    reason: str | None  # why it did not pass


class _Cascade:
    def __init__(
        self, node: Node, check: Check, escalate_to: Node, name: str | None, settings: Any
    ) -> None:
        self._near, self._far = _as_runnable(node), _as_runnable(escalate_to)
        self._check = check
        self._name = name or f"{self._near.get_name()} or {self._far.get_name()}"
        self._settings = settings

    def runnable(self) -> RunnableLambda[Any, Any]:
        return RunnableLambda(self._run, self._arun, name=self._name)

    def _run(self, given: Any, config: RunnableConfig) -> Any:
        near, far = Meter(), Meter()
        try:
            side = self._judged(given, self._near.invoke(given, _under(near, config)))
        except Exception as error:  # noqa: BLE001 - a plugin boundary: the node is the user's code
            side = _failed(error)
        if side.reason is None:
            self._log(near, None, None, side.reason)
            return side.outcome
        outcome = self._far.invoke(given, _under(far, config))
        self._log(near, far, self._judged(given, outcome).reason, side.reason)
        return outcome

    async def _arun(self, given: Any, config: RunnableConfig) -> Any:
        import asyncio

        near, far = Meter(), Meter()
        try:
            side = self._judged(given, await self._near.ainvoke(given, _under(near, config)))
        except Exception as error:  # noqa: BLE001 - a plugin boundary: the node is the user's code
            side = _failed(error)
        if side.reason is None:
            await asyncio.to_thread(self._log, near, None, None, side.reason)
            return side.outcome
        outcome = await self._far.ainvoke(given, _under(far, config))
        after = self._judged(given, outcome).reason
        await asyncio.to_thread(self._log, near, far, after, side.reason)
        return outcome

    def _judged(self, given: Any, outcome: Any) -> _Side:
        try:
            said = _said(self._check, given, outcome)
        except Exception as error:  # noqa: BLE001 - a plugin boundary: the check is the user's code
            said = _told(error)
        if said is None or said is True:
            return _Side(outcome, None)
        return _Side(outcome, said if isinstance(said, str) else "the check failed")

    def _log(self, near: Meter, far: Meter | None, after: str | None, reason: str | None) -> None:
        settings = load_settings() if self._settings is None else resolve(self._settings)
        row = Row(
            cascade=self._name,
            escalated=far is not None,
            passed=after is None,
            reason=reason,
            near_usd=near.cost_usd,
            far_usd=far.cost_usd if far else 0.0,
        )
        with CascadeLog.open(settings) as log:
            log.add(row)


def _failed(error: Exception) -> _Side:
    from langgraph.errors import GraphBubbleUp

    if isinstance(error, GraphBubbleUp | BudgetExhaustedError | LeaseLostError):
        raise error
    return _Side(None, _told(error))


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _said(check: Check, given: Any, outcome: Any) -> bool | str | None:
    needed = [
        one
        for one in inspect.signature(check).parameters.values()
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return check(given, outcome) if len(needed) > 1 else check(outcome)


def _under(meter: Meter, config: RunnableConfig) -> RunnableConfig:
    return merge_configs(config, {"callbacks": [meter]})


def _as_runnable(node: Node) -> Runnable[Any, Any]:
    if isinstance(node, Runnable):
        return node
    name = getattr(node, "__name__", type(node).__name__)
    if not inspect.iscoroutinefunction(node):
        return RunnableLambda(node, name=name)
    return RunnableLambda(_no_sync(name), node, name=name)


def _no_sync(name: str) -> Callable[[Any], Any]:
    def refuse(_: Any) -> Any:
        raise TypeError(f"{name} is async: call the graph with ainvoke or astream")

    return refuse


def report(settings: Settings | str | Path | None = None) -> list[dict[str, Any]]:
    """Cost against quality, for each cascade: how many items, how many went on, and what they cost.

    ``near_passed`` is the share that the near node did alone, ``passed`` the share that passes the
    check in the end, ``usd`` what was spent; None where a model's price is not known.
    """
    with CascadeLog.open(resolve(settings)) as log:
        return log.summary()


# Checks that need no model.


def fits(schema: Mapping[str, Any] | type, key: str | None = None) -> Check:
    """The outcome (or its ``key``) is JSON, or a value, that fits a JSON schema or pydantic class."""

    def check(outcome: Any) -> str | None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match

        value = _part(outcome, key)
        if isinstance(value, str):
            try:
                value = strict_json(value)
            except ValueError:
                return "it is not JSON"
        if isinstance(schema, Mapping):
            error = best_match(Draft202012Validator(dict(schema)).iter_errors(value))
            return f"{error.json_path}: {error.message}"[:300] if error else None
        return _pydantic_problem(schema, value)

    return check


def _pydantic_problem(kind: Any, value: Any) -> str | None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"
    return None


def cites(source_key: str, quotes_key: str) -> Check:
    """Every quote of the outcome stands, word for word, in the text of the input."""

    def check(given: Any, outcome: Any) -> str | None:
        text = " ".join(str(_part(given, source_key)).split())
        for quote in _part(outcome, quotes_key) or []:
            if " ".join(str(quote).split()) not in text:
                return f"a quote is not in the text: {str(quote)[:80]!r}"
        return None

    return check


def at_least(score: Callable[[Any], float], least: float) -> Check:
    """A score of the outcome, by any function, is at least ``least``."""

    def check(outcome: Any) -> str | None:
        found = score(outcome)
        return None if found >= least else f"its score is {found:g}, less than {least:g}"

    return check


def passes(test: Callable[[Any], Any]) -> Check:
    """A test of the outcome, written with ``assert``, holds; what it says is the reason."""

    def check(outcome: Any) -> str | None:
        try:
            test(outcome)
        except AssertionError as error:
            return str(error) or "the test failed"
        return None

    return check


def all_of(*checks: Check) -> Check:
    """All of the checks; the first that fails gives the reason."""

    def check(given: Any, outcome: Any) -> bool | str | None:
        for one in checks:
            said = _said(one, given, outcome)
            if said is not None and said is not True:
                return said
        return None

    return check


def _part(value: Any, key: str | None) -> Any:
    if key is None:
        return getattr(value, "content", value)
    return value[key] if isinstance(value, Mapping) else getattr(value, key)
