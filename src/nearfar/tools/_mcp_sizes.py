"""How long a message of an MCP server may be: no server decides how much memory it takes.

The SDK bounds the events of a stream, but neither the lines of a program nor JSON over HTTP. Lines are
counted where they are decoded, by a codec, as that is what the SDK lets be chosen.
"""

import codecs
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

ENCODING = "nearfar-mcp-lines"


class Gauge:
    """The longest message of a connection, and whether one was longer: then ``end`` is called."""

    def __init__(self, most: int, end: Callable[[], None] = lambda: None) -> None:
        self.most = most
        self.exceeded = False
        self._end = end

    def check(self, size: int) -> bool:
        """Whether so many bytes are too many."""
        if size > self.most and not self.exceeded:
            self.exceeded = True
            self._end()  # a program whose lines nobody reads any more would wait for ever
        return size > self.most


lines_of: ContextVar[Gauge | None] = ContextVar("nearfar_mcp_lines", default=None)
"""For decoders that are made in this context."""


class _Lines(codecs.BufferedIncrementalDecoder):
    """UTF-8, up to the longest line."""

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._gauge = lines_of.get()
        self._length = 0

    def _buffer_decode(self, data: Any, errors: str, final: bool) -> tuple[str, int]:  # codecs' own
        text, used = codecs.utf_8_decode(data, errors, final)
        *whole, rest = text.split("\n")
        longest = max(self._length + len(whole[0]), *map(len, whole)) if whole else 0
        self._length = len(rest) if whole else self._length + len(rest)
        if self._gauge is not None and self._gauge.check(max(longest, self._length)):
            raise UnicodeError(f"a line of more than {self._gauge.most:,} characters")
        return text, used


def _find(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != ENCODING:
        return None
    utf8 = codecs.lookup("utf-8")
    return codecs.CodecInfo(utf8.encode, utf8.decode, incrementaldecoder=_Lines, name=ENCODING)


codecs.register(_find)


def bounded(client: Any, gauge: Gauge) -> Any:
    """The client of httpx2, whose JSON answers are read up to the limit."""

    async def bound(response: Any) -> None:
        if response.headers.get("content-type", "").lower().startswith("application/json"):
            response.stream = _bounded(response.stream, gauge)

    client.event_hooks = {**client.event_hooks, "response": [bound]}
    return client


def _bounded(stream: Any, gauge: Gauge) -> Any:
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in stream:
                size += len(piece)
                if gauge.check(size):
                    raise httpx2.StreamError(f"an answer of more than {gauge.most:,} bytes")
                yield piece

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()
