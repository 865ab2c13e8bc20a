"""The guarded client: requests to URLs that a model or a page gave."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from nearfar.errors import FetchError, NearfarError

from .addresses import IPAddress
from .bodies import ENCODINGS, read_body
from .policy import NetLimits, NetPolicy
from .resolving import Connector, Resolver, direct, system_resolver
from .urls import SCHEME, Url, parse_url, refused

if TYPE_CHECKING:
    import aiohttp

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "Mozilla/5.0 (compatible; nearfar)"
_PIECE = 65_536
_AROUND = 1_000_000  # bytes of headers, of TLS and of what frames the body
T = TypeVar("T")

CheckHop = Callable[[Url, Url], None]
"""Where a redirect comes from and where it leads; raises to refuse it."""

# What belongs to one body, and goes when a redirect turns the request into a GET.
_BODY_HEADERS = frozenset({"content-type", "content-length", "content-encoding"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer, whatever its status; header names are in lower case."""

    url: Url  # the last hop's
    status: int
    headers: Mapping[str, str]
    body: bytes  # decompressed
    cut: bool  # whether the body went on beyond the limit
    hops: tuple[str, ...]  # the URLs before, without their queries

    @property
    def content_type(self) -> str:
        """Such as ``text/html``; empty where the server does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset that the header declares."""
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'") or None
        return None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: Url
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class GuardedClient:
    """Makes requests that reach only what ``policy`` allows, within ``limits``.

    A host is resolved once for each hop, all its addresses are checked, and the connection goes to a
    checked address. Redirects are followed here, each checked like the first URL; headers of the
    caller are dropped for good when one leaves the first origin. Proxies, cookies and ``.netrc`` of
    the environment are not used. Nothing is kept between requests: safe from any loop or thread.
    """

    policy: NetPolicy = field(default_factory=NetPolicy)
    limits: NetLimits = field(default_factory=NetLimits)
    resolver: Resolver = system_resolver
    connector: Connector = direct
    ssl_context: ssl.SSLContext | None = None  # None: the system's certificates

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET ``url``; raises ``UrlRefusedError`` or ``FetchError``, and not for any status."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        check_hop: CheckHop | None = None,
    ) -> Reply:
        """As ``get``, with any method; ``check_hop`` raises for redirects that the caller refuses."""
        _check_headers(headers or {})
        request = _Request(method, parse_url(url), dict(headers or {}), body)
        try:
            async with asyncio.timeout(self.limits.total_s):
                return await self._follow(request, check_hop)
        except TimeoutError:
            raise FetchError(
                f"{request.url.shown} did not answer within {self.limits.total_s:g} s.",
                data={"url": request.url.shown, "reason": "timeout"},
            ) from None

    async def _follow(self, request: _Request, check_hop: CheckHop | None) -> Reply:
        hops: list[str] = []
        while True:
            reply = await self._send(request, tuple(hops))
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or location is None:
                return reply
            hops.append(request.url.shown)
            if len(hops) > self.limits.max_hops:
                raise FetchError(
                    f"{hops[0]} redirects more than {self.limits.max_hops} times.",
                    data={"url": hops[0], "reason": "redirects"},
                )
            following = _next_request(request, reply.status, location)
            self.policy.check(following.url)
            if check_hop is not None:
                check_hop(request.url, following.url)
            request = following

    async def _send(self, request: _Request, hops: tuple[str, ...]) -> Reply:
        self.policy.check(request.url)
        addresses = await self._addresses(request.url)
        failed: OSError | None = None
        for address in addresses[: self.limits.max_addresses]:
            try:
                return await self._exchange(request, address, hops)
            except _ConnectError as error:
                failed = error.cause
        raise FetchError(
            f"{request.url.origin} could not be reached.",
            data={"url": request.url.shown, "reason": "connection"},
        ) from failed

    async def _addresses(self, url: Url) -> list[IPAddress]:
        if url.address is not None:
            return self.policy.check_addresses(url, [str(url.address)])
        try:
            found = await self.resolver(url.host, url.port)
            addresses = self.policy.check_addresses(url, found)
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise FetchError(
                f"The host {url.host} was not found.", data={"url": url.shown, "reason": "name"}
            ) from error
        if not addresses:
            raise FetchError(
                f"The host {url.host} has no address.", data={"url": url.shown, "reason": "name"}
            )
        return addresses

    async def _exchange(
        self, request: _Request, address: IPAddress, hops: tuple[str, ...]
    ) -> Reply:
        import aiohttp

        url = request.url
        host, port = self.connector(address, url.port)
        try:
            async with (
                _session(host, port, self.limits) as session,
                session.request(
                    request.method,
                    _wire_url(url, host, port),
                    headers=_wire_headers(request),
                    data=request.body,
                    allow_redirects=False,
                    ssl=self.ssl_context or True,
                    server_hostname=url.host,
                ) as response,
            ):
                body, cut = await read_body(
                    _pieces(response),
                    response.headers.get("Content-Encoding", ""),
                    self.limits.max_bytes,
                )
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(url, response.status, headers, body, cut, hops)
        except NearfarError:
            raise
        except aiohttp.ClientSSLError as error:
            raise FetchError(
                f"{url.origin} has no certificate that can be trusted.",
                data={"url": url.shown, "reason": "certificate"},
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _ConnectError(error) from error
        except (aiohttp.ClientError, ValueError) as error:
            # ValueError: aiohttp's parser on some malformed answers
            raise FetchError(
                f"{url.origin} did not answer as HTTP demands: {type(error).__name__}.",
                data={"url": url.shown, "reason": "protocol"},
            ) from error


class _ConnectError(Exception):
    """No connection was made, so that another address may be tried."""

    def __init__(self, cause: OSError) -> None:
        super().__init__()
        self.cause = cause


class _Metered(socket.socket):
    """Takes so many bytes and no more, whatever they are: a body is counted where it is read, but
    notes before the answer and remarks between its chunks are thrown away unseen.

    Event loops that read without asking the socket (Windows) have only the limit of time here.
    """

    left = 0

    def recv(self, *args: Any) -> bytes:
        return self._count(data := super().recv(*args), len(data))

    def recv_into(self, *args: Any) -> int:
        return self._count(size := super().recv_into(*args), size)

    def _count(self, received: T, size: int) -> T:
        self.left -= size
        if self.left < 0:
            raise OSError("the server sent more than a body of the largest size comes to")
        return received


def _session(host: str, port: int, limits: NetLimits) -> "aiohttp.ClientSession":
    """A session for one exchange, whose sockets connect to this address and to no other."""
    import aiohttp

    def open_socket(info: "aiohttp.AddrInfoType") -> socket.socket:
        if tuple(info[4][:2]) != (host, port):
            raise OSError("the connection would leave the address that was checked")
        opened = _Metered(info[0], info[1], info[2])
        opened.left = 2 * limits.max_bytes + _AROUND
        return opened

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, socket_factory=open_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s),
        auto_decompress=False,
        trust_env=False,
    )


def _wire_url(url: Url, host: str, port: int) -> Any:
    """The address takes the host's place; the host stands in the Host header and in TLS."""
    from yarl import URL

    place = f"[{host}]" if ":" in host else host
    return URL(f"{url.scheme}://{place}:{port}{url.target}", encoded=True)


def _wire_headers(request: _Request) -> dict[str, str]:
    ours = {"Accept": "*/*", "User-Agent": _USER_AGENT}
    given = {name.lower() for name in request.headers}
    kept = {name: value for name, value in ours.items() if name.lower() not in given}
    return {
        **kept,
        **request.headers,
        "Host": request.url.authority,
        "Accept-Encoding": ENCODINGS,
    }


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name.lower() in {"host", "connection", "transfer-encoding", "accept-encoding"}:
            raise refused(f"the header {name} is not the caller's to set", reason="header")
        if not name.isascii() or any(ord(char) < 0x20 for char in name + value):
            raise refused("a header holds a line break or control character", reason="header")


def _next_request(request: _Request, status: int, location: str) -> _Request:
    try:
        # urljoin drops line breaks without a word; parse_url refuses them, so it looks first.
        if any(ord(char) < 0x20 or char == "\\" for char in location):
            raise refused("it redirects to a URL with control characters", reason="characters")
        target = location.strip(" ").replace(" ", "%20")
        if target.startswith("///"):  # a path, or a server: that depends on who reads it
            raise refused("it redirects to something that is no URL", reason="form")
        url = parse_url(target if SCHEME.match(target) else urljoin(str(request.url), target))
    except ValueError:
        raise refused("it redirects to something that is no URL", reason="form") from None
    method, body, headers = request.method, request.body, request.headers
    if url.origin != request.url.origin:
        headers = {}
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, body = "GET", None
        headers = {k: v for k, v in headers.items() if k.lower() not in _BODY_HEADERS}
    elif body is not None and url.origin != request.url.origin:
        raise refused("it redirects a body to another server", reason="redirect", host=url.host)
    return _Request(method, url, headers, body)


async def _pieces(response: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
    async for piece in response.content.iter_chunked(_PIECE):
        yield piece
