"""The operations of an OpenAPI 3 file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from nearfar.errors import ApiDescriptionError

from .references import References, broken

MAX_BYTES = 20_000_000
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_NAME = re.compile(r"[^A-Za-z0-9]+")
# The request itself decides about these; OpenAPI says to ignore such parameters.
_NOT_PARAMETERS = frozenset({"accept", "content-type", "authorization"})

Place = Literal["path", "query", "header"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation; ``argument`` is what a model calls it."""

    name: str
    place: Place
    argument: str
    required: bool
    schema: dict[str, Any]
    explode: bool = True
    style: str = "form"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str  # the tool's name
    method: str  # upper case
    path: str  # with {name} where a parameter goes
    text: str
    parameters: tuple[Parameter, ...]
    body: dict[str, Any] | None  # the schema of a JSON body
    body_required: bool
    server: str | None  # as the file has it, variables filled in
    security: tuple[tuple[str, ...], ...]  # alternatives, each a set of schemes


def load(spec: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The description, from a file or parsed already; raises ``ApiDescriptionError``."""
    document: Any = spec
    if not isinstance(spec, Mapping):
        document = _parse(Path(spec))
    if not isinstance(document, Mapping) or not str(document.get("openapi", "")).startswith("3."):
        raise broken("it does not say that it is OpenAPI 3 (`openapi: 3...`)", "/openapi")
    return dict(document)


def _parse(path: Path) -> Any:
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise broken(f"{path} has more than {MAX_BYTES:,} bytes", "")
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))  # JSON is YAML too
    except OSError as error:
        raise ApiDescriptionError(
            f"{path} could not be opened: {error.strerror}.",
            data={"pointer": "", "path": str(path)},
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ApiDescriptionError(
            f"{path} is neither JSON nor YAML.", data={"pointer": "", "path": str(path)}
        ) from error


def operations(document: Mapping[str, Any], wanted: Sequence[str] = ()) -> list[Operation]:
    """The operations that can be called, in the file's order; those that ``wanted`` names, if any.

    ``wanted`` has patterns such as ``GET /pets/*`` or operationIds. Operations that need a body other
    than JSON, or a cookie, are left out; naming one of them raises, as does a pattern without any.
    """
    found: list[Operation] = []
    hits = dict.fromkeys(wanted, 0)
    taken: set[str] = set()
    for raw in _raw_operations(document):
        names = (f"{raw.method.upper()} {raw.path}", str(raw.own.get("operationId", "")))
        fitting = [
            pattern for pattern in wanted if any(fnmatchcase(name, pattern) for name in names)
        ]
        if wanted and not fitting:
            continue
        made = _operation(document, raw, taken)
        if made is None:
            continue
        for pattern in fitting:
            hits[pattern] += 1
        taken.add(made.id)
        found.append(made)
    for pattern, count in hits.items():
        if not count:
            raise broken(f"no operation that can be called fits '{pattern}'", "/paths")
    if not found:
        raise broken("it has no operation that can be called", "/paths")
    return found


@dataclass(frozen=True, slots=True)
class _Raw:
    """An operation as the file has it."""

    path: str
    method: str
    item: dict[str, Any]  # what holds for all methods of the path
    own: dict[str, Any]

    @property
    def pointer(self) -> str:
        return _pointer(self.path, self.method)


def _raw_operations(document: Mapping[str, Any]) -> Iterator[_Raw]:
    references = References(document)
    paths = references.follow(document.get("paths", {}), "/paths")
    for path, value in paths.items():
        if not str(path).startswith("/"):
            continue  # an extension
        item = references.follow(value, _pointer(path))
        for method in METHODS:
            if method in item:
                own = references.follow(item[method], _pointer(path, method))
                yield _Raw(str(path), method, item, own)


def _operation(document: Mapping[str, Any], raw: _Raw, taken: set[str]) -> Operation | None:
    """None for an operation that cannot be called with JSON and parameters alone."""
    references = References(document)
    body, body_required = None, False
    if "requestBody" in raw.own:
        whole = references.follow(raw.own["requestBody"], f"{raw.pointer}/requestBody")
        media = _json_media(whole.get("content") or {})
        body_required = bool(whole.get("required"))
        if media is not None:
            body = references.schema(media.get("schema") or {}, f"{raw.pointer}/requestBody")
        elif body_required:
            return None
    parameters = _parameters(references, raw)
    if parameters is None:
        return None
    declared = {parameter.name for parameter in parameters if parameter.place == "path"}
    if missing := set(re.findall(r"\{([^{}]*)\}", raw.path)) - declared:
        raise broken(f"the path's parameter '{min(missing)}' is not described", raw.pointer)
    words = [str(raw.own.get(key) or "").strip() for key in ("summary", "description")]
    return Operation(
        id=_free_name(str(raw.own.get("operationId") or f"{raw.method}_{raw.path}"), taken),
        method=raw.method.upper(),
        path=raw.path,
        text="\n".join(dict.fromkeys(word for word in words if word))[:1000],
        parameters=parameters,
        body=body,
        body_required=body_required,
        server=_server(raw, document),
        security=_security(raw.own.get("security", document.get("security"))),
    )


def _parameters(references: References, raw: _Raw) -> tuple[Parameter, ...] | None:
    """The path's with the operation's laid over them; None where a cookie is demanded."""
    described: dict[tuple[str, str], dict[str, Any]] = {}
    for source in (raw.item, raw.own):
        for value in source.get("parameters") or []:
            one = references.follow(value, f"{raw.pointer}/parameters")
            described[str(one.get("in")), str(one.get("name"))] = one
    made: list[Parameter] = []
    arguments = {"body"}
    for (place, name), one in described.items():
        required = bool(one.get("required")) or place == "path"
        if place not in {"path", "query", "header"}:
            if required:
                return None
            continue
        if place == "header" and name.lower() in _NOT_PARAMETERS:
            continue
        media = _json_media(one.get("content") or {}) or {}
        schema = references.schema(
            one.get("schema") or media.get("schema") or {}, f"{raw.pointer}/parameters/{name}"
        )
        if one.get("description"):
            schema["description"] = str(one["description"])[:500]
        argument = _argument(name, place, arguments)
        arguments.add(argument)
        style = str(one.get("style") or ("form" if place == "query" else "simple"))
        explode = bool(one.get("explode", style == "form"))
        made.append(Parameter(name, place, argument, required, schema, explode, style))  # type: ignore[arg-type]
    return tuple(made)


def _argument(name: str, place: str, taken: set[str]) -> str:
    """A name that a function can have: ``filter[id]`` becomes ``filter_id``."""
    from pydantic import BaseModel

    plain = _NAME.sub("_", name).strip("_") or place
    plain = plain if plain[0].isalpha() else f"p_{plain}"
    # What pydantic and LangChain use themselves.
    if hasattr(BaseModel, plain) or plain in {"config", "run_manager", "callbacks", "self"}:
        plain = f"{plain}_{place}"
    return _numbered(plain if plain not in taken else f"{plain}_{place}", taken)


def _free_name(text: str, taken: set[str]) -> str:
    plain = _NAME.sub("_", text).strip("_")[:56] or "operation"
    return _numbered(plain, taken)


def _numbered(name: str, taken: set[str]) -> str:
    number, made = 2, name
    while made in taken:
        made, number = f"{name}_{number}", number + 1
    return made


def _json_media(content: Any) -> dict[str, Any] | None:
    if not isinstance(content, Mapping):
        return None
    for kind, media in content.items():
        essence = str(kind).partition(";")[0].strip().lower()
        if essence == "application/json" or essence.endswith("+json") or essence == "*/*":
            return dict(media) if isinstance(media, Mapping) else {}
    return None


def _server(raw: _Raw, document: Mapping[str, Any]) -> str | None:
    servers = raw.own.get("servers") or raw.item.get("servers") or document.get("servers") or []
    if not servers or not isinstance(servers[0], Mapping):
        return None
    url = str(servers[0].get("url", ""))
    for name, variable in (servers[0].get("variables") or {}).items():
        if not isinstance(variable, Mapping) or "default" not in variable:
            raise broken(f"the server's variable '{name}' has no default", raw.pointer)
        url = url.replace(f"{{{name}}}", str(variable["default"]))
    return url


def _security(value: Any) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        return ()
    return tuple(tuple(map(str, one)) for one in value if isinstance(one, Mapping))


def _pointer(path: str, method: str = "") -> str:
    place = "/paths/" + str(path).replace("~", "~0").replace("/", "~1")
    return f"{place}/{method}" if method else place
