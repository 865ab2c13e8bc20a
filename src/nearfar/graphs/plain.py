"""What a workflow returns, as plain JSON values; and what a model wrote as JSON."""

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Set
from datetime import date, time, timedelta
from enum import Enum
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

_DEEPEST = 100
_ALWAYS = frozenset(
    {"type", "content"}
)  # of a message; other fields are told unless they are empty
_EMPTY: tuple[Any, ...] = (None, [], {}, "")


def to_plain(value: Any, _depth: int = 0) -> Any:
    """``value`` made of dicts, lists, strings, numbers, booleans and None alone.

    Messages, pydantic models and dataclasses become objects, times ISO 8601, timedeltas seconds,
    bytes base64, NaN and infinities null; what has no such form becomes its ``str``. Nothing raises:
    a run that is done must not fail because its result is unusual.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    simpler = next((make(value) for kind, make in _SIMPLER if isinstance(value, kind)), None)
    if simpler is None:
        simpler = _unknown(value)
    if _depth > _DEEPEST:
        return type(value).__name__
    if isinstance(simpler, dict):
        return {_key(k): to_plain(v, _depth + 1) for k, v in simpler.items()}
    if isinstance(simpler, list):
        return [to_plain(item, _depth + 1) for item in simpler]
    return simpler if type(simpler) in (bool, int, float, str) else to_plain(simpler, _depth + 1)


def strict_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN, which is none of its numbers."""
    return json.loads(text, parse_constant=_no_json)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _key(key: Any) -> str:
    return str(key.value if isinstance(key, Enum) else key)


def _message(message: BaseMessage) -> dict[str, Any]:
    """A message without the fields that are empty."""
    fields = {name: getattr(message, name) for name in type(message).model_fields}
    return {name: v for name, v in fields.items() if name in _ALWAYS or v not in _EMPTY}


def message_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A message as ``to_plain`` gives it, from its fields, which are plain values."""
    return {
        name: v if type(v) is str else to_plain(v)
        for name, v in fields.items()
        if v or name in _ALWAYS or v not in _EMPTY
    }


def _unknown(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    return str(value)


# What is looked for first stands first; each function gives something simpler.
_SIMPLER: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda v: v.value),
    (bool, bool),
    (int, int),
    (float, float),
    (str, str.__str__),
    (BaseMessage, _message),
    (BaseModel, lambda v: {name: getattr(v, name) for name in type(v).model_fields}),
    (Mapping, dict),
    (list | tuple | Set, list),
    (date | time, lambda v: v.isoformat()),
    (timedelta, timedelta.total_seconds),
    (bytes | bytearray, lambda v: base64.b64encode(v).decode("ascii")),
)
