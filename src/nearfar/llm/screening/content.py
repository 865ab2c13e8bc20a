"""Everything of a request that would be sent, as text; and what cannot be read as text."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

UNREADABLE = "unreadable"
"""The kind of what no detector can look into: pictures, sound, files, objects."""
_MAX_DEPTH = 60
_WORDS = frozenset({"text", "text-plain", "input_text", "output_text"})
_FILES = frozenset(
    {
        *("image", "image_url", "input_image", "file", "input_file", "document", "media", "video"),
        *("audio", "input_audio", "non_standard", "container_upload"),
    }
)


class Unreadable(Exception):  # noqa: N818  (control flow: the piece counts as private)
    """A piece that no detector can look into."""


class Gathered:
    """The texts of a request, and how many pieces of it cannot be read."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.glued: list[str] = []
        """Blocks of text that stand side by side, as a provider may join them."""
        self.unreadable = 0

    def message(self, message: BaseMessage) -> None:
        """Content, calls of tools, and whatever else of a message may be sent."""
        content = message.content
        if isinstance(content, str):
            self.texts.append(content)
        else:
            self._blocks(content)
        if message.name:
            self.texts.append(message.name)
        if message.additional_kwargs:
            self.value(message.additional_kwargs)
        for name in ("tool_calls", "invalid_tool_calls"):
            for call in getattr(message, name, None) or ():
                self.value([call.get("name"), call.get("args"), call.get("id")])
        if getattr(message, "tool_call_id", None):
            self.value(getattr(message, "tool_call_id"))  # noqa: B009  (only tool messages have it)

    def value(self, value: Any, depth: int = 0) -> None:
        """All words and numbers in plain data, also the names of its fields."""
        if isinstance(value, str):
            self.texts.append(value)
        elif value is None or isinstance(value, bool):
            return
        elif isinstance(value, int | float):
            self.texts.append(str(value))
        elif depth >= _MAX_DEPTH:
            self.unreadable += 1
        elif isinstance(value, Mapping):
            if value.get("type") in _FILES:
                self._file(value, depth)
                return
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
        elif isinstance(value, list | tuple | set | frozenset):
            for item in value:
                self.value(item, depth + 1)
        else:
            self._object(value, depth)

    def _blocks(self, blocks: Sequence[Any]) -> None:
        words = []
        for block in blocks:
            if isinstance(block, str):
                words.append(block)
            elif isinstance(block, dict) and block.get("type") in _WORDS:
                words.append(str(block.get("text", "")))
                self.value({k: v for k, v in block.items() if k not in ("type", "text")})
            else:
                self.value(block)
        self.texts += words
        if len(words) > 1:
            self.glued.append("".join(words))

    def _file(self, block: Mapping[str, Any], depth: int) -> None:
        """Files of text are read; all others count as unreadable."""
        try:
            self.texts.append(_text_of_file(block))
        except Unreadable:
            self.unreadable += 1
        for key, item in block.items():
            if key not in ("type", "data", "base64", "image_url", "file", "source", "input_audio"):
                self.value(item, depth + 1)

    def _object(self, value: Any, depth: int) -> None:
        if isinstance(value, BaseModel):
            self.value(value.model_dump(mode="json"), depth + 1)
        elif isinstance(value, type):
            schema = getattr(value, "model_json_schema", None)
            self.value(schema() if schema else [value.__name__, value.__doc__], depth + 1)
        else:
            self.unreadable += 1


def gathered(
    messages: Sequence[BaseMessage], tools: Sequence[Any], options: Mapping[str, Any]
) -> Gathered:
    """What a request with these messages, tools and options would send."""
    found = Gathered()
    for message in messages:
        found.message(message)
    if tools:
        found.value(list(tools))
    if options:
        found.value(options)
    return found


def outer_words(messages: Sequence[BaseMessage]) -> Iterator[str]:
    """What came from outside: the turns of users and the results of tools."""
    for message in messages:
        if message.type in ("human", "tool", "function", "chat"):
            yield str(message.text)


def _text_of_file(block: Mapping[str, Any]) -> str:
    plain = block.get("text")
    if isinstance(plain, str):
        return plain
    source = block.get("source")
    inner: Mapping[str, Any] = source if isinstance(source, Mapping) else block
    kind = str(inner.get("mime_type") or inner.get("media_type") or "")
    data = inner.get("base64") or inner.get("data")
    if not isinstance(data, str) or not (kind.startswith("text/") or kind == "application/json"):
        raise Unreadable
    if inner.get("type") == "text":
        return data
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unreadable from None
