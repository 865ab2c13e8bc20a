"""``http_api``: the operations of an API that an OpenAPI file describes, one tool for each.

The server is the user's or the file's, never the model's; keys are added after the model's part is
done, and are taken out of what comes back.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, quote_plus, urljoin

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema, create_model

from nearfar.errors import (
    ApiDescriptionError,
    ConfigurationError,
    FetchError,
    ToolFailedError,
    UrlRefusedError,
)
from nearfar.settings import Settings, resolve

from .base import Arguments, GuardedTool, Result, guarded
from .net import GuardedClient, NetLimits, NetPolicy, Reply, Url, parse_url
from .net.pages import Page, text_of
from .net.urls import refused
from .openapi import Operation, Prepared, load, prepare
from .openapi import operations as described
from .openapi.references import References, broken

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MASK = "********"


def http_api(settings: Settings) -> list[GuardedTool]:
    """The tools of all APIs in ``tools.apis``; their names begin with the API's."""
    made: list[GuardedTool] = []
    for name, api in settings.tools.apis.items():
        made += http_api_tools(
            api.spec,
            settings,
            base_url=api.base_url,
            operations=api.operations,
            secrets=api.secrets,
            prefix=f"{name}_",
        )
    return made


def http_api_tools(
    spec: str | Path | Mapping[str, Any],
    settings: Settings | str | Path | None = None,
    *,
    base_url: str | None = None,
    operations: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    prefix: str = "",
    client: GuardedClient | None = None,
) -> list[GuardedTool]:
    """One tool for each operation of an OpenAPI 3 file (its path, or the parsed description).

    ``base_url`` wins over the file's servers; only with it a server on this machine or network is
    reached. ``operations`` are the ones wanted, as ``GET /pets/*`` or by operationId; all if empty.
    ``secrets`` has keys by security scheme; for basic authentication ``user:password``. GET, HEAD
    and OPTIONS are allowed where no rule says otherwise, all other methods ask. Raises
    ``ApiDescriptionError`` and, for secrets of schemes that are not there, ``ConfigurationError``.
    """
    document = load(spec)
    schemes = _schemes(document, secrets or {})
    resolved = resolve(settings)
    found = described(document, operations)
    return [
        _tool(
            operation,
            resolved,
            _Api(_base(operation, base_url), schemes, base_url is not None, client),
            prefix,
        )
        for operation in found
    ]


@dataclass(frozen=True)
class _Scheme:
    """A security scheme; ``secret`` is None where no key was given."""

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
class _Api:
    """Where requests go and with which keys."""

    base: Url
    schemes: Mapping[str, _Scheme]
    is_users: bool  # the server was named by the user and not by the file
    client: GuardedClient | None = None
    hidden: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        forms: set[str] = set()
        for scheme in self.schemes.values():
            if scheme.secret is not None:
                secret = scheme.secret.get_secret_value()
                forms |= {secret, quote(secret, safe=""), quote_plus(secret)}
                forms |= {json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}
        object.__setattr__(self, "hidden", tuple(sorted(forms - {""}, key=len, reverse=True)))

    def guarded_client(self, settings: Settings) -> GuardedClient:
        """Reaches this API's server only."""
        policy = NetPolicy(
            ports=frozenset({self.base.port}),
            private_origins=(self.base.origin,) if self.is_users else (),
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


def _tool(operation: Operation, settings: Settings, api: _Api, prefix: str) -> GuardedTool:
    client = api.guarded_client(settings)
    keys = _keys(operation, api.schemes)

    async def call(**arguments: Any) -> Result:
        prepared = prepare(operation, arguments)
        headers, query = dict(prepared.headers), list(prepared.query)
        for scheme in keys():
            scheme.apply(headers, query)
        _set(headers, "Accept", "application/json, text/*;q=0.5, */*;q=0.1")
        reply = await client.request(
            operation.method,
            _address(api.base, prepared, query),
            headers=headers,
            body=prepared.body,
            check_hop=_same_server,
        )
        text = api.without_secrets((await asyncio.to_thread(_page, reply)).text)
        source = f"{operation.method} {api.base.origin}{operation.path}"
        if reply.status >= 400:
            raise ToolFailedError(
                f"{source} answered with status {reply.status}.",
                data={"tool": operation.id, "status": reply.status, "quoted": text},
            )
        return Result(
            f"Status {reply.status}\n\n{text or '[no content]'}",
            source=source,
            data={"status": reply.status, "content_type": reply.content_type},
        )

    def preview(**arguments: Any) -> str:
        prepared = prepare(operation, arguments)
        body = prepared.body.decode() if prepared.body else ""
        address = _address(api.base, prepared, prepared.query)
        return f"{operation.method} {address}\n{body}".strip()

    return guarded(
        settings,
        name=f"{prefix}{operation.id}"[:64],
        description=operation.text or f"{operation.method} {operation.path}",
        args=_arguments(operation),
        body=call,
        default="allow" if operation.method in _READING else "ask",
        preview=preview,
    )


def _page(reply: Reply) -> Page:
    """The answer's text, whatever its status; empty where it is not text."""
    if not reply.body:
        return Page("")
    try:
        return text_of(Reply(reply.url, 200, reply.headers, reply.body, reply.cut, reply.hops))
    except FetchError as error:
        return Page(f"[{error.message}]")


def _address(base: Url, prepared: Prepared, query: Sequence[tuple[str, str]]) -> str:
    path = base.target.partition("?")[0].rstrip("/") + prepared.path
    pairs = "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in query)
    return base.origin + path + (f"?{pairs}" if pairs else "")


def _same_server(before: Url, after: Url) -> None:
    if before.origin != after.origin:
        raise refused("it redirects to another server", reason="redirect", host=after.host)


def _base(operation: Operation, base_url: str | None) -> Url:
    """The user's server, or the file's; raises where there is none to be used."""
    address = base_url or operation.server
    if address is None or "://" not in address:
        raise ApiDescriptionError(
            f"The API's description does not say where {operation.id} is served.",
            remedy="Give base_url.",
            data={"pointer": "/servers"},
        )
    try:
        base = parse_url(urljoin(address, ""))
        if base_url is None:
            NetPolicy(ports=frozenset({base.port})).check(base)
    except (UrlRefusedError, ValueError) as error:
        raise ApiDescriptionError(
            f"The API's server cannot be used: {error}",
            remedy="Give base_url: so a server on this machine or network is allowed, too.",
            data={"pointer": "/servers"},
        ) from error
    return base


def _schemes(document: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, _Scheme]:
    references = References(document)
    components = references.follow(document.get("components") or {}, "/components")
    described = references.follow(components.get("securitySchemes") or {}, "/components")
    if unknown := sorted(set(secrets) - set(described)):
        raise ConfigurationError(
            f"The API's description has no security scheme '{unknown[0]}'.",
            remedy=f"Its schemes are: {', '.join(sorted(described)) or 'none'}.",
            data={"scheme": unknown[0], "known": sorted(described)},
        )
    made: dict[str, _Scheme] = {}
    for name, value in described.items():
        pointer = f"/components/securitySchemes/{name}"
        one = references.follow(value, pointer)
        kind = "key" if one.get("type") == "apiKey" else "bearer"
        if one.get("type") == "http" and str(one.get("scheme", "")).lower() == "basic":
            kind = "basic"
        if kind == "key" and not one.get("name"):
            raise broken("the key's name is missing", pointer)
        secret = secrets.get(name)
        made[name] = _Scheme(
            kind,
            str(one.get("in", "header")),
            str(one.get("name", "")),
            SecretStr(secret) if secret else None,
        )
    return made


def _keys(
    operation: Operation, schemes: Mapping[str, _Scheme]
) -> Callable[[], tuple[_Scheme, ...]]:
    """Gives the schemes of the first alternative whose keys are all there; raises for want of one."""
    for alternative in operation.security:
        if not alternative:
            continue  # without any: only where no other fits
        found = [schemes.get(name) for name in alternative]
        if all(scheme is not None and scheme.secret is not None for scheme in found):
            whole = tuple(scheme for scheme in found if scheme is not None)
            return lambda: whole
    if not operation.security or () in operation.security:
        return tuple

    def missing() -> tuple[_Scheme, ...]:
        names = " or ".join(" with ".join(alternative) for alternative in operation.security)
        raise ToolFailedError(
            f"{operation.id} needs a key that was not given ({names}).",
            remedy="The user can give it under `secrets` of the API; do without this call.",
            data={"tool": operation.id},
        )

    return missing


def _arguments(operation: Operation) -> type[Arguments]:
    """The pydantic model of an operation: its schemas are shown as they are, and checked."""
    fields: dict[str, Any] = {}
    for parameter in operation.parameters:
        fields[parameter.argument] = _field(parameter.schema, required=parameter.required)
    if operation.body is not None:
        fields["body"] = _field(operation.body, required=operation.body_required)
    return create_model(f"{operation.id}_arguments", __base__=Arguments, **fields)


def _field(schema: Mapping[str, Any], *, required: bool) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise broken(f"a schema is not valid: {error.message[:200]}", "/paths") from error
    checker = Draft202012Validator(dict(schema))

    def check(value: Any) -> Any:
        if value is None and not required:
            return value
        wrong = best_match(checker.iter_errors(value))
        if wrong is not None:
            raise ValueError(wrong.message[:300])
        return value

    kind = Annotated[Any, AfterValidator(check), WithJsonSchema(dict(schema))]
    return (kind, Field(...) if required else Field(default=None))


def _set(headers: dict[str, str], name: str, value: str) -> None:
    """Over a header of the same name in any spelling."""
    for other in [key for key in headers if key.lower() == name.lower()]:
        del headers[other]
    headers[name] = value
