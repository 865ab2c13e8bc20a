"""Requests to an OpenAI-shaped server: one pool of connections for each event loop."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import aiohttp
import orjson

from nearfar.errors import BrokenReplyError
from nearfar.llm.faults import Origin
from nearfar.llm.per_loop import PerLoop

from .proxies import proxy_for

MAX_ERROR_BYTES = 64 * 1024
MAX_REPLY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Pool:
    """A loop's kept connections, and the proxy to each address as the environment first said."""

    session: aiohttp.ClientSession
    proxies: dict[str, str | None] = field(default_factory=dict)

    def proxy(self, url: str) -> str | None:
        if url not in self.proxies:
            self.proxies[url] = proxy_for(url)
        return self.proxies[url]


async def _made() -> _Pool:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=60)
    return _Pool(aiohttp.ClientSession(connector=connector, auto_decompress=True))


_pools = PerLoop(_made, lambda pool: pool.session.close())


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
        response = await self._send(body)
        try:
            data = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.origin.from_exception(error, begun=True) from error
        finally:
            _let_go(response)
        parsed = _object(data)
        if parsed is None:
            fault = "malformed" if data else "empty"
            raise self.origin.error(BrokenReplyError, "the reply is not JSON", fault)
        return parsed

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Send a request and yield the objects of its events, those together that arrived together;
        ends at ``[DONE]`` or the body's end.

        Raises an UpstreamError when the connection breaks or an event is not JSON.
        """
        response = await self._send(body)
        reader = _EventReader()
        try:
            async for piece in response.content.iter_any():
                found: list[dict[str, Any]] = []
                for data in reader.feed(piece):
                    if data == b"[DONE]":
                        yield found
                        return
                    parsed = _object(data)
                    if parsed is None:
                        yield found
                        raise self._not_json()
                    found.append(parsed)
                if found:
                    yield found
            last = reader.end()
            if last not in (b"", b"[DONE]"):
                parsed = _object(last)
                if parsed is None:
                    raise self._not_json()
                yield [parsed]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.origin.from_exception(error, begun=True) from error
        finally:
            _let_go(response)

    def _not_json(self) -> Exception:
        words = "an event of the stream is not JSON"
        return self.origin.error(BrokenReplyError, words, "malformed")

    async def _send(self, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response to a request, once its status is a good one."""
        pool = await _pools.get()
        try:
            response = await pool.session.post(
                self.url,
                data=orjson.dumps(body),
                headers=self.headers,
                timeout=_limits(self.connect_s, self.read_s),
                proxy=pool.proxy(self.url),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.origin.from_exception(error, begun=False) from error
        if response.status >= 300:
            try:
                raise await self._refusal(response)
            finally:
                _let_go(response)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        try:
            data = await response.content.read(MAX_ERROR_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError):
            data = b""
        found = _object(data) or {"message": data[:300].decode("utf-8", "replace")}
        return self.origin.from_status(response.status, response.headers, found)


@lru_cache
def _limits(connect_s: float, read_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)


def _let_go(response: aiohttp.ClientResponse) -> None:
    """A response read to its end gives its connection back; any other closes it."""
    response.release() if response.content.at_eof() else response.close()


class _EventReader:
    """Finds the data of server-sent events (WHATWG HTML, 9.2) in a body that comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_REPLY_BYTES:
            raise aiohttp.ClientPayloadError("an event is too large")
        found = []
        for line in lines:
            text = line.rstrip(b"\r")
            if text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))
            elif not text and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found

    def end(self) -> bytes:
        """The data of an event that the end of the body completes; empty where there is none."""
        if self._rest.startswith(b"data:"):
            self._data.append(self._rest[5:].strip())
        return b"\n".join(self._data)


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None
