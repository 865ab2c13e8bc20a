"""What an effect returned, as bytes; nothing but plain values and messages goes in or comes out."""

from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from nearfar.errors import EffectValueError

_LEAVES = (type(None), bool, int, float, str, bytes, date, time, timedelta, Decimal, UUID)
_DEEPEST = 60


def dump(value: Any) -> tuple[str, bytes]:
    """Format and bytes. Raises EffectValueError, naming the place of what cannot be kept."""
    _check(value, "the result", 0)
    try:
        kind, data = _serde().dumps_typed(value)
    except (TypeError, ValueError) as error:  # an integer beyond 64 bits
        raise EffectValueError(
            f"The result cannot be kept: {error}.", data={"type": type(value).__name__}
        ) from error
    return kind, data


def load(kind: str, data: bytes) -> Any:
    """What ``dump`` was given; tuples come back as lists."""
    return _serde().loads_typed((kind, data))


def _serde() -> Any:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer(allowed_msgpack_modules=None)


def _check(value: Any, place: str, depth: int) -> None:
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage

    if isinstance(value, _LEAVES) and not isinstance(value, Enum):
        return
    if depth <= _DEEPEST and type(value) in (list, tuple, set, frozenset):
        for number, item in enumerate(value):
            _check(item, f"{place}[{number}]", depth + 1)
    elif depth <= _DEEPEST and type(value) is dict:
        for key, item in value.items():
            _check(key, f"a key of {place}", depth + 1)
            _check(item, f"{place}[{key!r}]", depth + 1)
    elif not isinstance(value, BaseMessage | Document):
        raise EffectValueError(
            f"{place} is of the type {type(value).__name__}, which cannot be kept.",
            data={"type": type(value).__name__},
        )
