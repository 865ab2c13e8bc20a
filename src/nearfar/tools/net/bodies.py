"""Bodies read and decompressed step by step, so that no server decides how much memory they take."""

import zlib
from collections.abc import AsyncIterator

from nearfar.errors import FetchError

ENCODINGS = "gzip, deflate"  # what is asked for, and all that is understood
_PIECE = 65_536


class _Inflater:
    """Decompresses up to a number of bytes; what goes beyond is never made."""

    def __init__(self, encoding: str) -> None:
        self._deflate = encoding == "deflate"
        self._engine: zlib._Decompress | None = None

    def feed(self, data: bytes, room: int) -> tuple[bytes, bool]:
        """Up to ``room`` bytes, and whether more were to come from ``data``."""
        out = bytearray()
        while data:
            if self._engine is None:
                self._engine = self._start(data)
            out += self._engine.decompress(data, room - len(out))
            if self._engine.unconsumed_tail:
                return bytes(out), True
            data = b""
            if self._engine.eof:  # another member of a gzip file may follow, or padding
                data = b"" if self._deflate else self._engine.unused_data.lstrip(b"\0")
                self._engine = None
            if len(out) >= room:
                return bytes(out), bool(data)
        return bytes(out), False

    def _start(self, data: bytes) -> "zlib._Decompress":
        if not self._deflate:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        # The name means the zlib format; some servers send the stream alone.
        has_header = data[0] & 0x0F == 8
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


async def read_body(
    pieces: AsyncIterator[bytes], encoding: str, max_bytes: int
) -> tuple[bytes, bool]:
    """The body, decompressed, and whether it was cut at ``max_bytes`` (on the wire or after)."""
    encoding = encoding.strip().lower()
    inflater = None
    if encoding in {"gzip", "x-gzip", "deflate"}:
        inflater = _Inflater(encoding)
    elif encoding not in {"", "identity"}:
        raise FetchError(
            "The server sent an encoding that was not asked for.", data={"reason": "encoding"}
        )
    body = bytearray()
    received = 0
    async for piece in pieces:
        received += len(piece)
        room = max_bytes - len(body)
        if inflater is None:
            body += piece[:room]
            more = len(piece) > room
        else:
            try:
                out, more = inflater.feed(piece, room + 1)
            except zlib.error:
                raise FetchError(
                    "The server's compressed body is damaged.", data={"reason": "encoding"}
                ) from None
            body += out[:room]
            more = more or len(out) > room
        if more or received > max_bytes:
            return bytes(body), True
    return bytes(body), False
