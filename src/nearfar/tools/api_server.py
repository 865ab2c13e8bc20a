"""An API's server: where requests go, which keys they carry, and what comes back."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from nearfar.errors import FetchError, ToolFailedError
from nearfar.settings import Settings

from .base import Result
from .net import GuardedClient, NetLimits, NetPolicy, Reply, Url
from .net.pages import Page, text_of
from .net.urls import refused
from .openapi import Prepared

READING = ("GET", "HEAD", "OPTIONS")
_MASK = "********"


@dataclass(frozen=True)
class Key:
    """What a security scheme asks for; ``secret`` is None where nothing was given."""

    kind: str
    place: str
    name: str
    secret: SecretStr | None

    def apply(self, headers: dict[str, str], query: list[tuple[str, str]]) -> None:
        """Put the key where the scheme wants it, over anything that is there."""
        secret = self.secret.get_secret_value() if self.secret else ""
        if self.kind == "basic":
            encoded = base64.b64encode(secret.encode()).decode()
            _set(headers, "Authorization", f"Basic {encoded}")
        elif self.kind == "bearer":
            _set(headers, "Authorization", f"Bearer {secret}")
        elif self.place == "query":
            query[:] = [(key, value) for key, value in query if key != self.name]
            query.append((self.name, secret))
        elif self.place == "cookie":
            _set(headers, "Cookie", f"{self.name}={quote(secret, safe='')}")
        else:
            _set(headers, self.name, secret)


@dataclass(frozen=True)
class ApiServer:
    """Where requests go and with which keys."""

    base: Url
    keys: Mapping[str, Key]
    named_by_user: bool  # the server was named by the user and not by the file
    client: GuardedClient | None = None
    hidden: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        forms: set[str] = set()
        for key in self.keys.values():
            if key.secret is not None:
                secret = key.secret.get_secret_value()
                forms |= {secret, quote(secret, safe=""), quote_plus(secret)}
                forms |= {json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}
        object.__setattr__(self, "hidden", tuple(sorted(forms - {""}, key=len, reverse=True)))

    def address(self, prepared: Prepared, query: Sequence[tuple[str, str]] = ()) -> str:
        """The whole URL; without keys unless they are in ``query``."""
        path = self.base.target.partition("?")[0].rstrip("/") + prepared.path
        pairs = "&".join(
            f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in query
        )
        return self.base.origin + path + (f"?{pairs}" if pairs else "")

    def preview(self, method: str, prepared: Prepared) -> str:
        """The request as a person sees it before approving."""
        body = prepared.body.decode() if prepared.body else ""
        return f"{method} {self.address(prepared, prepared.query)}\n{body}".strip()

    def guarded_client(self, settings: Settings) -> GuardedClient:
        """Reaches this API's server only."""
        policy = NetPolicy(
            ports=frozenset({self.base.port}),
            private_origins=(self.base.origin,) if self.named_by_user else (),
            hosts=(f"[{self.base.host}]" if ":" in self.base.host else self.base.host,),
        )
        if self.client is not None:  # whose resolver, connector and limits hold, not its policy
            return GuardedClient(
                policy,
                self.client.limits,
                self.client.resolver,
                self.client.connector,
                self.client.ssl_context,
            )
        return GuardedClient(policy, NetLimits(total_s=settings.tools.timeout_s))

    def without_secrets(self, text: str) -> str:
        """An answer may repeat what was sent; the model must not see keys in it."""
        for secret in self.hidden:
            text = text.replace(secret, _MASK)
        return text

    async def call(
        self,
        client: GuardedClient,
        method: str,
        prepared: Prepared,
        keys: Sequence[Key],
        shown: str,
    ) -> Result:
        """Send the request with these keys; raises ``ToolFailedError`` for an error's status.

        ``shown`` is the path as the model may see it.
        """
        headers, query = dict(prepared.headers), list(prepared.query)
        for key in keys:
            key.apply(headers, query)
        _set(headers, "Accept", "application/json, text/*;q=0.5, */*;q=0.1")
        reply = await client.request(
            method,
            self.address(prepared, query),
            headers=headers,
            body=prepared.body,
            check_hop=_same_server,
        )
        text = self.without_secrets((await asyncio.to_thread(_page, reply)).text)
        source = f"{method} {self.base.origin}{shown}"
        if reply.status >= 400:
            raise ToolFailedError(
                f"{source} answered with status {reply.status}.",
                data={"status": reply.status, "quoted": text},
            )
        return Result(
            f"Status {reply.status}\n\n{text or '[no content]'}",
            source=source,
            data={"status": reply.status, "content_type": reply.content_type},
        )


def _page(reply: Reply) -> Page:
    """The answer's text, whatever its status; empty where it is not text."""
    if not reply.body:
        return Page("")
    try:
        return text_of(Reply(reply.url, 200, reply.headers, reply.body, reply.cut, reply.hops))
    except FetchError as error:
        return Page(f"[{error.message}]")


def _same_server(before: Url, after: Url) -> None:
    if before.origin != after.origin:
        raise refused("it redirects to another server", reason="redirect", host=after.host)


def _set(headers: dict[str, str], name: str, value: str) -> None:
    """Over a header of the same name in any spelling."""
    for other in [key for key in headers if key.lower() == name.lower()]:
        del headers[other]
    headers[name] = value
