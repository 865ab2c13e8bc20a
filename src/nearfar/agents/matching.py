"""Filters of a store, as LangGraph's stores read them: ``{"kind": "note", "age": {"$gte": 3}}``."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def fits(value: Any, wanted: Any) -> bool:
    """Whether a field of an item is what the filter asks for; an unknown operator is a ValueError."""
    if isinstance(wanted, Mapping):
        if any(str(name).startswith("$") for name in wanted):
            return all(_compare(value, name, other) for name, other in wanted.items())
        return isinstance(value, Mapping) and all(fits(value.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and len(value) == len(wanted)
            and all(fits(v, w) for v, w in zip(value, wanted, strict=True))
        )
    return bool(value == wanted)


def _compare(value: Any, name: str, other: Any) -> bool:
    if name == "$eq":
        return bool(value == other)
    if name == "$ne":
        return bool(value != other)
    if name not in _ORDERS:
        raise ValueError(f"Unknown operator: {name}")
    try:
        return _ORDERS[name](float(value), float(other))
    except (TypeError, ValueError):  # what is no number is neither more nor less
        return False
