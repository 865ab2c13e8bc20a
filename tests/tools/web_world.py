"""A small internet on loopback: names, public servers, and a canary where nobody may go.

The resolver and the connector that are handed to the client lead every address to one of two real
listening sockets: addresses that were declared public to the server, all others to the canary. So a
guard that fails is seen, and still no packet leaves this machine.
"""

import asyncio
import contextlib
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from nearfar.tools.net import GuardedClient, IPAddress, NetLimits, NetPolicy

PUBLIC = {
    *("93.184.215.14", "1.1.1.1", "8.8.8.8", "2606:2800:220::1", "2606:4700:4700::1111"),
    *("2001:4860:4860::8888", "64:ff9b::808:808"),
}
ZEROS = b"\0" * 1_000_000


@dataclass(frozen=True)
class Seen:
    """A request that reached the server."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What the server says; ``body`` is sent as it stands."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"<html><title>Fine</title><body><p>ordinary page</p></body></html>"


Handler = Callable[[Seen], Answer]
Writer = asyncio.StreamWriter


@dataclass
class World:
    """Names and servers; ``answers`` has what a name leads to at its first, second, ... look-up."""

    answers: dict[str, Sequence[Sequence[str] | str]] = field(default_factory=dict)
    redirects: dict[str, tuple[int, str]] = field(default_factory=dict)
    handler: Handler | None = None
    serve: str = ""
    seen: list[Seen] = field(default_factory=list)
    canary_calls: int = 0
    dialled: list[tuple[str, int]] = field(default_factory=list)
    look_ups: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)  # a request did
    _places: dict[str, int] = field(default_factory=dict)

    async def resolver(self, host: str, port: int) -> Sequence[str]:
        """Names that are not listed lead to a public address; numbers as the C library reads them."""
        count = self.look_ups.count(host)
        self.look_ups.append(host)
        if host in self.answers:
            found = self.answers[host][min(count, len(self.answers[host]) - 1)]
            if isinstance(found, str):
                await asyncio.Event().wait()  # a name server that never answers
            return list(found)
        with contextlib.suppress(OSError, ValueError):
            return [str(ip_address(host.strip("[]").partition("%")[0]))]
        with contextlib.suppress(OSError, UnicodeError):
            return [socket.inet_ntoa(socket.inet_aton(host))]
        local = host.rstrip(".").endswith(("localhost", "internal", "local", "lan", "metadata"))
        return ["127.0.0.1"] if local else ["93.184.215.14"]

    def connector(self, address: IPAddress, port: int) -> tuple[str, int]:
        self.dialled.append((str(address), port))
        if str(address) not in PUBLIC:
            return "127.0.0.1", self._places["canary"]
        return "127.0.0.1", self._places["tls" if port in {443, 8443} else "plain"]

    def client(
        self,
        policy: NetPolicy | None = None,
        limits: NetLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> GuardedClient:
        return GuardedClient(
            policy or NetPolicy(), limits or NetLimits(), self.resolver, self.connector, tls
        )

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["World"]:
        async with contextlib.AsyncExitStack() as stack:
            places: list[tuple[str, Any, ssl.SSLContext | None]] = [
                ("canary", self._on_canary, None),
                ("plain", self._on_plain, None),
            ]
            if tls is not None:
                places.append(("tls", self._on_tls, tls))
            for name, handler, context in places:
                server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
                stack.push_async_callback(_stop, server)
                self._places[name] = server.sockets[0].getsockname()[1]
            yield self

    async def _on_canary(self, _reader: asyncio.StreamReader, writer: Writer) -> None:
        self.canary_calls += 1
        writer.close()

    async def _on_plain(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        await self._talk("http", reader, writer)

    async def _on_tls(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        await self._talk("https", reader, writer)

    async def _talk(self, scheme: str, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            request = await _read_request(scheme, reader)
            self.seen.append(request)
            self.arrived.set()
            if self.serve == "late":
                await asyncio.sleep(0.15)  # what the client's time limit is set against
            if request.url in self.redirects:
                status, location = self.redirects[request.url]
                answer = Answer(status, {"Location": location}, b"")
                await _send(writer, answer)
            elif self.serve in BEHAVIOURS:
                await BEHAVIOURS[self.serve](self, writer)
            else:
                await _send(writer, self.handler(request) if self.handler else Answer())
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, as it should where an answer is too much; or the test is over
        finally:
            writer.close()

    async def pour(self, writer: Writer, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent_bytes += len(data)


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = [task for task in asyncio.all_tasks() if "World._" in repr(task.get_coro())]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(scheme: str, reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, f"{scheme}://{headers['host']}{target}", headers, body)


async def _send(writer: Writer, answer: Answer) -> None:
    headers = {"Content-Type": "text/html; charset=utf-8"} | answer.headers
    headers["Content-Length"] = str(len(answer.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n"
    writer.write(head.encode("utf-8") + answer.body)
    await writer.drain()


def _head(*headers: str) -> bytes:
    return ("HTTP/1.1 200 OK\r\n" + "".join(f"{line}\r\n" for line in headers) + "\r\n").encode()


def _bomb(encoding: str, wbits: int) -> Callable[[World, Writer], Awaitable[None]]:
    async def serve(world: World, writer: Writer) -> None:
        engine = zlib.compressobj(9, zlib.DEFLATED, wbits)
        data = b"".join(engine.compress(ZEROS) for _ in range(100)) + engine.flush()
        await world.pour(
            writer, _head(f"Content-Encoding: {encoding}", f"Content-Length: {len(data)}")
        )
        await world.pour(writer, data)

    return serve


def _endless(head: bytes, piece: bytes) -> Callable[[World, Writer], Awaitable[None]]:
    async def serve(world: World, writer: Writer) -> None:
        await world.pour(writer, head)
        while True:
            await world.pour(writer, piece)

    return serve


def _slow(head: bytes, piece: bytes) -> Callable[[World, Writer], Awaitable[None]]:
    """A piece now and then, often enough that no read by itself takes long."""

    async def serve(world: World, writer: Writer) -> None:
        await world.pour(writer, head)
        while True:
            await asyncio.sleep(0.02)
            await world.pour(writer, piece)

    return serve


async def _stuck(world: World, writer: Writer) -> None:
    await world.pour(writer, _head("Content-Length: 1000") + b"some")
    await asyncio.Event().wait()


async def _silent(_world: World, _writer: Writer) -> None:
    await asyncio.Event().wait()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


_CHUNKED = "Transfer-Encoding: chunked"
_GZIP = "Content-Encoding: gzip"
BEHAVIOURS: dict[str, Callable[[World, Writer], Awaitable[None]]] = {
    "gzip-zeros": _bomb("gzip", 31),
    "deflate-zeros": _bomb("deflate", 15),
    "raw-deflate-zeros": _bomb("deflate", -15),
    "gzip-members": _endless(_head(_GZIP), gzip.compress(ZEROS)),
    "gzip-twice": _endless(
        _head("Content-Encoding: gzip, gzip"), gzip.compress(gzip.compress(ZEROS * 20))
    ),
    "endless-chunks": _endless(_head(_CHUNKED), _chunk(b"x" * 65_536)),
    "endless-gzip": _endless(_head(_CHUNKED, _GZIP), _chunk(gzip.compress(ZEROS))),
    "false-length": _endless(_head("Content-Length: 99999999999"), ZEROS),
    "empty-gzip-members": _endless(_head(_GZIP), gzip.compress(b"") * 1000),
    "endless-headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000),
    "endless-cookies": _endless(b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=b\r\n" * 1000),
    "endless-status": _endless(b"HTTP/1.1 200 ", b"x" * 65_536),
    "endless-hints": _endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "endless-extension": _endless(_head(_CHUNKED) + b"1;", b"x" * 65_536),
    "endless-trailers": _endless(_head(_CHUNKED) + b"0\r\n", b"X-A: b\r\n" * 1000),
    "one-byte-chunks": _endless(_head(_CHUNKED), _chunk(b"x") * 1000),
    "zstd": _endless(_head("Content-Encoding: zstd"), b"\x28\xb5\x2f\xfd" * 10_000),
    "brotli": _endless(_head("Content-Encoding: br"), b"\xcf" * 65_536),
    "silent": _silent,
    "slow-status": _slow(b"", b"H"),
    "slow-headers": _slow(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "slow-hints": _slow(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "slow-trailers": _slow(_head(_CHUNKED) + b"0\r\n", b"X-A: b\r\n"),
    "slow-body": _slow(_head("Content-Length: 100000"), b"x"),
    "slow-chunks": _slow(_head(_CHUNKED), _chunk(b"x")),
    "stuck-body": _stuck,
    "slow-gzip": _slow(_head(_CHUNKED, _GZIP), _chunk(gzip.compress(b"x"))),
}
