"""Filters on metadata: a dict says what must hold, a callable decides by itself.

    {"source": "a.md"}                             equal
    {"page": {"$gte": 3, "$lt": 9}}                each condition holds
    {"kind": {"$in": ["pdf", "docx"]}}
    {"$or": [{"page": 1}, {"$not": {"heading": {"$exists": True}}}]}

Operators: ``$eq $ne $gt $gte $lt $lte $in $nin $contains $exists $and $or $not``. A key that a
document lacks fails every condition but ``$ne``, ``$nin`` and ``{"$exists": False}``; so does a
comparison of things without order (a number and a text).
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from nearfar.errors import MetadataError

Filter = Mapping[str, Any] | Callable[[dict[str, Any]], bool]
Condition = Callable[[Mapping[str, Any]], bool]

_MISSING = object()


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(found: Any, wanted: Any) -> bool:
        try:
            return found is not _MISSING and bool(compare(found, wanted))
        except TypeError:
            return False

    return holds


def _contains(found: Any, wanted: Any) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list | dict) and wanted in found


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$in": lambda found, wanted: found in wanted,
    "$nin": lambda found, wanted: found not in wanted,
    "$contains": _contains,
    "$exists": lambda found, wanted: (found is not _MISSING) == bool(wanted),
}
_LISTS = ("$in", "$nin")


def condition(wanted: Filter | None) -> Condition | None:
    """A filter as a function of metadata; None lets everything through. Raises MetadataError."""
    if wanted is None:
        return None
    if isinstance(wanted, Mapping):
        return _all([_entry(key, value) for key, value in wanted.items()])
    if callable(wanted):
        accept = wanted
        return lambda metadata: bool(accept(dict(metadata)))
    raise _wrong(f"A filter is a dict or a function, not {type(wanted).__name__}.")


def _entry(key: str, value: Any) -> Condition:
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple):
            raise _wrong(f"{key} takes a list of filters.")
        parts = [_part(key, part) for part in value]
        return _all(parts) if key == "$and" else lambda m: any(part(m) for part in parts)
    if key == "$not":
        denied = _part(key, value)
        return lambda metadata: not denied(metadata)
    if key.startswith("$"):
        raise _unknown(key)
    if not (isinstance(value, Mapping) and any(str(name).startswith("$") for name in value)):
        return lambda metadata: bool(metadata.get(key, _MISSING) == value)
    return _all([_compared(key, name, operand) for name, operand in value.items()])


def _part(key: str, value: Any) -> Condition:
    if not isinstance(value, Mapping):
        raise _wrong(f"{key} takes filters that are dicts.")
    return _all([_entry(name, inner) for name, inner in value.items()])


def _compared(key: str, name: str, operand: Any) -> Condition:
    compare = _OPERATORS.get(name)
    if compare is None:
        raise _unknown(name)
    if name in _LISTS and not isinstance(operand, list | tuple | set | frozenset):
        raise _wrong(f"{name} takes a list of values.")
    allowed = list(operand) if name in _LISTS else operand  # a set refuses what has no hash
    return lambda metadata: bool(compare(metadata.get(key, _MISSING), allowed))


def _all(parts: list[Condition]) -> Condition:
    return lambda metadata: all(part(metadata) for part in parts)


def _unknown(name: str) -> MetadataError:
    known = ", ".join([*_OPERATORS, "$and", "$or", "$not"])
    return _wrong(f"{name} is not an operator of filters. There are {known}.")


def _wrong(message: str) -> MetadataError:
    return MetadataError(message, remedy="See `filter` in the guide to documents.")
