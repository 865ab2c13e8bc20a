"""``http_api``: calls APIs. One tool for each operation of an OpenAPI file, or one with a list.

The server is the user's or the file's, never the model's; keys are added after the model's part is
done, and are taken out of what comes back.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema, create_model

from nearfar.errors import (
    ApiDescriptionError,
    ConfigurationError,
    ToolFailedError,
    UrlRefusedError,
)
from nearfar.settings import PermissionRule, Settings, resolve

from .api_server import READING, ApiServer, Key
from .base import Arguments, GuardedTool, Outside, Result, guarded
from .net import GuardedClient, NetPolicy, Url, parse_url
from .openapi import Operation, load, path_pattern, prepare, prepare_path
from .openapi import operations as described
from .openapi.references import References, broken


def http_api(settings: Settings) -> list[GuardedTool]:
    """The tools of all APIs in ``tools.apis``; their names begin with the API's."""
    made: list[GuardedTool] = []
    for name, api in settings.tools.apis.items():
        if api.spec is not None:
            made += http_api_tools(
                api.spec,
                settings,
                base_url=api.base_url,
                operations=api.operations,
                secrets=api.secrets,
                prefix=f"{name}_",
            )
        elif api.base_url is not None:
            made.append(
                http_api_tool(
                    api.base_url, api.operations, settings, secrets=api.secrets, name=name
                )
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
    keys = _schemes(document, secrets or {})
    resolved = resolve(settings)
    made: list[GuardedTool] = []
    for operation in described(document, operations):
        base = _base(operation.server, base_url)
        server = ApiServer(base, keys, named_by_user=base_url is not None, client=client)
        made.append(_tool(operation, resolved, server, prefix + operation.id))
    return made


class HttpApiArguments(Arguments):
    """What a tool of ``http_api_tool`` is called with."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(
        pattern="^/", description="Path below the API's address, not encoded, without a query."
    )
    query: dict[str, str | int | float | bool | list[str | int | float]] = Field(
        default_factory=dict, description="The query's parameters."
    )
    body: Any = Field(default=None, description="The JSON body, where there is one.")


def http_api_tool(
    base_url: str,
    operations: Sequence[str],
    settings: Settings | str | Path | None = None,
    *,
    secrets: Mapping[str, str] | None = None,
    name: str = "http_api",
    description: str = "",
    client: GuardedClient | None = None,
) -> GuardedTool:
    """One tool for an API without a description.

    ``operations`` says what may be called, as ``GET /bowls/*``: a star stands for one step of the
    path, two at the end for any number, and as the method for all. ``secrets`` has headers. GET,
    HEAD and OPTIONS are allowed where no rule says otherwise, all other methods ask.
    """
    patterns = [path_pattern(operation) for operation in operations]
    keys = {
        header: Key("key", "header", header, SecretStr(secret))
        for header, secret in (secrets or {}).items()
    }
    server = ApiServer(_base(None, base_url), keys, named_by_user=True, client=client)
    resolved = resolve(settings)
    reading = [
        PermissionRule(tool=name, arguments={"method": method}, permission="allow")
        for method in READING
    ]
    rules = [*resolved.tools.permissions, *reading]
    resolved = resolved.model_copy(
        update={"tools": resolved.tools.model_copy(update={"permissions": rules})}
    )
    guarded_client = server.guarded_client(resolved)

    async def call(method: str, path: str, query: dict[str, Any], body: Any) -> Result:
        prepared = prepare_path(method, path, query, body, patterns)
        return await server.call(guarded_client, method, prepared, list(keys.values()), path)

    def preview(method: str, path: str, query: dict[str, Any], body: Any) -> str:
        return server.preview(method, prepare_path(method, path, query, body, patterns))

    return guarded(
        resolved,
        name=name,
        description=f"{description}\nCalls the API at {server.base}: {', '.join(operations)}.".strip(),
        args=HttpApiArguments,
        body=call,
        default="ask",
        preview=preview,
        outside=Outside(when=lambda method, **_: method not in READING),
    )


def _tool(operation: Operation, settings: Settings, server: ApiServer, name: str) -> GuardedTool:
    client = server.guarded_client(settings)
    keys = _keys(operation, server.keys)

    async def call(**arguments: Any) -> Result:
        prepared = prepare(operation, arguments)
        return await server.call(client, operation.method, prepared, keys(), operation.path)

    return guarded(
        settings,
        name=name[:64],
        description=operation.text or f"{operation.method} {operation.path}",
        args=_arguments(operation),
        body=call,
        default="allow" if operation.method in READING else "ask",
        preview=lambda **given: server.preview(operation.method, prepare(operation, given)),
        outside=None if operation.method in READING else Outside(),
    )


def _base(server: str | None, base_url: str | None) -> Url:
    """The user's server, or the file's; raises where there is none to be used."""
    address = base_url or server
    if address is None or "://" not in address:
        raise ApiDescriptionError(
            "The API's description does not say where it is served.",
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


def _schemes(document: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Key]:
    references = References(document)
    components = references.follow(document.get("components") or {}, "/components")
    described = references.follow(components.get("securitySchemes") or {}, "/components")
    if unknown := sorted(set(secrets) - set(described)):
        raise ConfigurationError(
            f"The API's description has no security scheme '{unknown[0]}'.",
            remedy=f"Its schemes are: {', '.join(sorted(described)) or 'none'}.",
            data={"scheme": unknown[0], "known": sorted(described)},
        )
    made: dict[str, Key] = {}
    for name, value in described.items():
        pointer = f"/components/securitySchemes/{name}"
        one = references.follow(value, pointer)
        kind = "key" if one.get("type") == "apiKey" else "bearer"
        if one.get("type") == "http" and str(one.get("scheme", "")).lower() == "basic":
            kind = "basic"
        if kind == "key" and not one.get("name"):
            raise broken("the key's name is missing", pointer)
        secret = secrets.get(name)
        made[name] = Key(
            kind,
            str(one.get("in", "header")),
            str(one.get("name", "")),
            SecretStr(secret) if secret else None,
        )
    return made


def _keys(operation: Operation, schemes: Mapping[str, Key]) -> Callable[[], tuple[Key, ...]]:
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

    def missing() -> tuple[Key, ...]:
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
