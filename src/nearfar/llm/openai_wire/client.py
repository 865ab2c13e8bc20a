"""Requests to an OpenAI-shaped server: one pool of connections for each event loop."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import orjson

from nearfar.errors import BrokenReplyError
from nearfar.llm.faults import Origin

MAX_ERROR_BYTES = 64 * 1024
MAX_REPLY_BYTES = 64 * 1024 * 1024
_Keeper = AsyncGenerator[aiohttp.ClientSession, None]
_keepers: "WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Keeper, aiohttp.ClientSession]]"
_keepers = WeakKeyDictionary()


async def _keeper() -> _Keeper:
    """Holds a session open; a loop that shuts down closes its async generators, and so the session."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=60)
    session = aiohttp.ClientSession(connector=connector, trust_env=True, auto_decompress=True)
    try:
        yield session
    finally:
        await session.close()


async def session_here() -> aiohttp.ClientSession:
    """The running loop's session, with kept connections; made at its first use."""
    loop = asyncio.get_running_loop()
    found = _keepers.get(loop)
    if found is None or found[1].closed:
        keeper = _keeper()
        found = (keeper, await anext(keeper))
        _keepers[loop] = found
    return found[1]


@dataclass(frozen=True)
class Endpoint:
    """Where requests go and how long they may be silent, in seconds."""

    url: str
    headers: Mapping[str, str]
    connect_s: float
    read_s: float
    origin: Origin

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the parsed reply. Raises an UpstreamError for anything else."""
        async with self._sent(body) as response:
            try:
                data = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self.origin.from_exception(error, begun=True) from error
            parsed = _object(data)
            if parsed is None:
                fault = "malformed" if data else "empty"
                raise self.origin.error(BrokenReplyError, "the reply is not JSON", fault)
            return parsed

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Send a request and yield the objects of its events; ends at ``[DONE]`` or the body's end.

        Raises an UpstreamError when the connection breaks or an event is not JSON.
        """
        async with self._sent(body) as response:
            try:
                async for data in _events(response.content):
                    if data == b"[DONE]":
                        return
                    parsed = _object(data)
                    if parsed is None:
                        raise self.origin.error(
                            BrokenReplyError, "an event of the stream is not JSON", "malformed"
                        )
                    yield parsed
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self.origin.from_exception(error, begun=True) from error

    @contextlib.asynccontextmanager
    async def _sent(self, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        session = await session_here()
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self.connect_s, sock_read=self.read_s
        )
        try:
            response = await session.post(
                self.url, data=orjson.dumps(body), headers=self.headers, timeout=limits
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.origin.from_exception(error, begun=False) from error
        try:
            if response.status >= 300:
                raise await self._refusal(response)
            yield response
        finally:
            # A response read to its end gives its connection back; any other closes it.
            response.release() if response.content.at_eof() else response.close()

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        try:
            data = await response.content.read(MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError):
            data = b""
        found = _object(data) or {"message": data[:300].decode("utf-8", "replace")}
        return self.origin.from_status(response.status, response.headers, found)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML, 9.2), one ``bytes`` an event."""
    rest = b""
    data: list[bytes] = []
    async for piece in content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_REPLY_BYTES:
            raise aiohttp.ClientPayloadError("an event is too large")
        for line in lines:
            text = line.rstrip(b"\r")
            if text.startswith(b"data:"):
                data.append(text[5:].removeprefix(b" "))
            elif not text and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest[5:].strip())
    if data:
        yield b"\n".join(data)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None
