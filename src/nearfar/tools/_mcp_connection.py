"""Connections to MCP servers: made at the first call, kept, made again after they broke."""

import asyncio
import atexit
import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from nearfar.errors import (
    ConfigurationError,
    McpServerError,
    MissingPackageError,
    ToolLimitError,
    ToolTimeoutError,
)
from nearfar.llm.portal import portal
from nearfar.settings import McpServerSettings

from ._mcp_sizes import ENCODING, Gauge, bounded, lines_of

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, Tool

_TAIL = 2000  # characters of what a server wrote to its standard error that are quoted
_MAX_PAGES = 50
_END_S = 10  # a server is asked to end, then told, then killed
_KEYRING = "keyring:"


class Connection:
    """One server. All that happens with it happens on the portal's loop, whoever calls.

    A client of the SDK must be closed by the task that opened it, so a task of its own keeps it.
    """

    def __init__(self, name: str, settings: McpServerSettings) -> None:
        self.name = name
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._over = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._gauge = Gauge(0)  # of the connection that is open

    async def tools(self) -> "list[Tool]":
        """What the server offers. Raises McpServerError."""
        found: list[Tool] = []
        with self._understood():
            client = await self._open()
            cursor: str | None = None
            for _ in range(_MAX_PAGES):
                page = await client.list_tools(cursor=cursor, cache_mode="bypass")
                found += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        return found

    async def call(
        self, tool: str, arguments: dict[str, Any], timeout_s: float
    ) -> "CallToolResult":
        """One call; when it is cancelled the server is told so. Raises McpServerError."""
        with self._understood():
            client = await self._open()
            return await client.call_tool(tool, arguments, read_timeout_seconds=timeout_s)

    async def close(self) -> None:
        """The server's process has ended when this returns."""
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.done() or self._loop is not asyncio.get_running_loop():
            return
        self._over.set()
        await asyncio.wait([keeper], timeout=_END_S)

    async def _open(self) -> "Client":
        here = asyncio.get_running_loop()
        if self._loop is not here:  # a new portal, as in a forked child: nothing of before holds
            self._loop, self._lock, self._keeper = here, asyncio.Lock(), None
        async with self._lock:
            if self._client is None or self._over.is_set():
                await self.close()
                self._client = await self._start()
            return self._client

    async def _start(self) -> "Client":
        self._over = asyncio.Event()
        self._gauge = Gauge(int(self._settings.max_message_mb * 1_048_576), self._over.set)
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            self._keeper = asyncio.create_task(self._keep(ready, self._over, cast("TextIO", log)))
            try:
                async with asyncio.timeout(self._settings.connect_s):
                    return await asyncio.shield(ready)
            except TimeoutError:
                await self.close()
                raise self._failed("did not answer in time", log) from None
            except asyncio.CancelledError:
                self._over.set()
                raise
            except (ConfigurationError, McpServerError):
                raise
            except Exception as error:  # noqa: BLE001  # whatever a transport or a program does
                raise self._failed(f"could not be reached: {_words(error)}", log) from None

    async def _keep(
        self, ready: "asyncio.Future[Client]", over: asyncio.Event, log: TextIO
    ) -> None:
        try:
            async with self._connected(over, log) as client:
                if not ready.done():
                    ready.set_result(client)
                await over.wait()
        except Exception as error:  # noqa: BLE001  # it is raised where the connection is waited for
            if not ready.done():
                ready.set_exception(error)
        finally:
            over.set()
            if not ready.done():
                ready.cancel()

    @asynccontextmanager
    async def _connected(self, over: asyncio.Event, log: TextIO) -> "AsyncIterator[Client]":
        from mcp import Client, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        own = self._settings
        gauge = self._gauge
        async with contextlib.AsyncExitStack() as stack:
            if own.command is not None:
                lines_of.set(gauge)
                parameters = StdioServerParameters(
                    command=own.command,
                    args=own.args,
                    env=_secrets(own.env),
                    cwd=own.folder,
                    encoding=ENCODING,
                )
                transport = stdio_client(parameters, errlog=log)
            else:
                http = await stack.enter_async_context(
                    create_mcp_http_client(headers=_secrets(own.headers))
                )
                transport = streamable_http_client(
                    own.url or "", http_client=bounded(http, gauge), max_sse_event_size=gauge.most
                )
            yield await stack.enter_async_context(Client(cast("Any", _watched(transport, over))))

    @contextlib.contextmanager
    def _understood(self) -> Any:
        """Turns the SDK's errors about the connection into ours; the next call begins a new one."""
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        try:
            yield
        except MCPError as error:
            if self._gauge.exceeded:
                self._over.set()
                raise self._too_long() from None
            if error.code == REQUEST_TIMEOUT:
                raise ToolTimeoutError(
                    f"The MCP server {self.name} took too long.", data={"server": self.name}
                ) from None
            if error.code == CONNECTION_CLOSED or "session" in error.message.lower():
                self._over.set()
                raise McpServerError(
                    f"The MCP server {self.name} ended while it worked; whether the call was done is"
                    " not known.",
                    remedy="The next call starts it again.",
                    data={"server": self.name},
                ) from None
            raise McpServerError(
                f"The MCP server {self.name} refused the request (code {error.code}).",
                data={"server": self.name, "quoted": error.message[:_TAIL]},
            ) from None

    def _too_long(self) -> ToolLimitError:
        most = self._settings.max_message_mb
        return ToolLimitError(
            f"The MCP server {self.name} sent a message of more than {most:g} MB.",
            remedy=f"Ask it for less, or raise mcp.servers.{self.name}.max_message_mb.",
            data={"server": self.name, "limit": self._gauge.most},
        )

    def _failed(self, why: str, log: Any = None) -> McpServerError:
        """``log`` is what the program wrote to its standard error."""
        quoted = ""
        if log is not None:
            log.seek(0)
            quoted = log.read()[-_TAIL:]
        return McpServerError(
            f"The MCP server {self.name} {why}.", data={"server": self.name, "quoted": quoted}
        )


class Connections:
    """Those of this process, by name and settings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Connection] = {}

    def get(self, name: str, settings: McpServerSettings) -> Connection:
        """The one of this server. Raises MissingPackageError."""
        require_mcp()
        with self._lock:
            key = (name, repr(sorted(settings.model_dump().items())))
            if key not in self._known:
                if not self._known:
                    atexit.register(self.close)  # before the portal's own: last in, first out
                self._known[key] = Connection(name, settings)
            return self._known[key]

    def close(self) -> None:
        """End all servers that were started."""
        with self._lock:
            waiting, self._known = list(self._known.values()), {}
        atexit.unregister(self.close)
        if waiting:
            portal.call(_close(waiting))


async def _close(waiting: list[Connection]) -> None:
    await asyncio.gather(*(one.close() for one in waiting))


connections = Connections()
"""Programs are not started twice for two agents."""


def require_mcp() -> None:
    """Raises MissingPackageError where the SDK is not installed, or too old."""
    try:
        from mcp import Client  # noqa: F401
    except ImportError:
        raise MissingPackageError(
            "The Model Context Protocol needs the package mcp (2.3 or newer), which is not installed.",
            remedy="Install it with: pip install 'nearfar[mcp]'",
            data={"package": "mcp"},
        ) from None


@asynccontextmanager
async def _watched(transport: Any, over: asyncio.Event) -> AsyncIterator[tuple[Any, Any]]:
    """The transport; ``over`` is set when the other side has ended."""
    async with transport as (read, write):
        yield _Watched(read, over), write


class _Watched:
    """A stream that says when it ends."""

    def __init__(self, stream: Any, over: asyncio.Event) -> None:
        self._stream = stream
        self._over = over

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._over.set()
            raise

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except BaseException:
            self._over.set()
            raise

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *about: Any) -> Any:
        return await self._stream.__aexit__(*about)


def _secrets(values: dict[str, str]) -> dict[str, str]:
    return {name: _secret(name, value) for name, value in values.items()}


def _secret(name: str, value: str) -> str:
    """``keyring:SERVICE/NAME`` is looked up in the system's keyring when it is needed."""
    if not value.startswith(_KEYRING):
        return value
    import keyring
    from keyring.errors import KeyringError

    service, _, user = value.removeprefix(_KEYRING).rpartition("/")
    try:
        found = keyring.get_password(service, user)
    except KeyringError:
        found = None
    if found is None:
        raise ConfigurationError(
            f"The keyring has no entry for {name!r} of an MCP server.",
            remedy=f"Add it with: keyring set {service} {user}",
            data={"key": name},
        )
    return found


def _words(error: BaseException) -> str:
    """The first cause in a group of exceptions; addresses and paths may stand in it, keys do not."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = str(error).split("\n", 1)[0][:300]
    return f"{type(error).__name__}{f': {said}' if said else ''}"
