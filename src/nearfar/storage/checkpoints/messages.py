"""Messages kept by their fields: exact, several times cheaper than through their validators.

A message that comes out of a checkpoint is a new object with the very fields of the one that went
in. What is not a plain message, or holds more than plain values, takes the ordinary way.
"""

from typing import Any

import langchain_core.messages as lc
from langchain_core.messages import BaseMessage

PLAIN: tuple[type[BaseMessage], ...] = (
    lc.HumanMessage,
    lc.AIMessage,
    lc.SystemMessage,
    lc.ToolMessage,
    lc.ChatMessage,
    lc.FunctionMessage,
    lc.RemoveMessage,
    lc.HumanMessageChunk,
    lc.AIMessageChunk,
)
KINDS = {kind: number for number, kind in enumerate(PLAIN)}  # numbers are stored: only append
_FIELDS = {kind: frozenset(kind.model_fields) for kind in PLAIN}
_SCALARS = frozenset((str, int, float, bool, type(None)))

Fields = tuple[int, dict[str, Any], tuple[str, ...], dict[str, Any] | None, tuple[str, ...]]
"""Kind, its fields, which of them were set, extra fields, and which fields hold lists or dicts."""


class NotPlainError(Exception):
    """A value that is not made of lists, dicts and scalars alone."""


def plain_copy(value: Any) -> Any:
    """A copy down to the scalars. Raises NotPlainError."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {key: plain_copy(item) for key, item in value.items() if _is_text(key)}
    if kind is list:
        return [plain_copy(item) for item in value]
    raise NotPlainError


def _is_text(key: Any) -> bool:
    if type(key) is not str:
        raise NotPlainError
    return True


def take(message: Any) -> Fields | None:
    """The message's fields, copied; None when they are not plain."""
    kind = KINDS.get(type(message))
    if kind is None or message.__pydantic_private__:
        return None
    try:
        values, deep = {}, []
        for name, value in message.__dict__.items():
            if type(value) in _SCALARS:
                values[name] = value
            else:
                values[name] = plain_copy(value)
                deep.append(name)
        extra = plain_copy(message.__pydantic_extra__) if message.__pydantic_extra__ else None
    except NotPlainError:
        return None
    if values.keys() != _FIELDS[type(message)]:
        return None
    return kind, values, tuple(sorted(message.__pydantic_fields_set__)), extra, tuple(deep)


def make(fields: Fields) -> BaseMessage:
    """A new message of those fields."""
    number, values, chosen, extra, deep = fields
    kind = PLAIN[number]
    message = kind.__new__(kind)
    own = values.copy()
    for name in deep:
        value = own[name]
        own[name] = plain_copy(value) if value else type(value)()
    assign = object.__setattr__
    assign(message, "__dict__", own)
    assign(message, "__pydantic_fields_set__", set(chosen))
    assign(message, "__pydantic_extra__", plain_copy(extra) if extra else {})
    assign(message, "__pydantic_private__", None)
    return message


def same(message: Any, fields: Fields) -> bool:
    """Whether the message still has those fields."""
    return (
        message.__dict__ == fields[1]
        and (message.__pydantic_extra__ or None) == fields[3]
        and type(message) is PLAIN[fields[0]]
    )


def from_row(row: Any) -> Fields:
    """What ``take`` gave, as it was stored, perhaps by another version of LangChain.

    Raises LookupError, TypeError, ValueError or AttributeError when it is nothing of the kind.
    """
    number, values, chosen, extra = row
    if not 0 <= number < len(PLAIN):
        raise LookupError(number)
    if values.keys() != _FIELDS[PLAIN[number]]:  # the class has other fields now: let it decide
        made = take(PLAIN[number](**{name: values[name] for name in chosen}, **(extra or {})))
        if made is None:
            raise ValueError(number)
        return made
    deep = tuple(name for name, value in values.items() if type(value) not in _SCALARS)
    return number, values, tuple(chosen), extra, deep
