"""From the arguments of a call to a request: nothing in them can change the server or the path."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from nearfar.errors import ConfigurationError, ToolRefusedError

from .description import Operation, Parameter

_METHOD = re.compile(r"[A-Z]+|\*")
_SLASHES = re.compile(r"[/\\]")
_MAX_DECODINGS = 4  # of %25252e..., more than any chain of servers does


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request but for its server and its keys."""

    path: str  # percent-encoded, without the query
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def prepare(operation: Operation, arguments: Mapping[str, Any]) -> Prepared:
    """The request for these arguments; raises ``ToolRefusedError`` for a path that would climb."""
    path = operation.path
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    values: dict[str, str] = {}
    for parameter in operation.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            continue
        if parameter.place == "path":
            values[parameter.name] = _step(parameter.argument, _joined(value))
        elif parameter.place == "query":
            query += _query(parameter, value)
        else:
            headers[parameter.name] = _joined(value)
    # At once, so that a value with braces is not filled in again.
    path = re.sub(r"\{([^{}]*)\}", lambda found: values.get(found[1], ""), path)
    body = None
    if operation.body is not None and arguments.get("body") is not None:
        body = json.dumps(arguments["body"], ensure_ascii=False).encode()
        headers["Content-Type"] = "application/json"
    return Prepared(path, query, headers, body)


def path_pattern(operation: str) -> re.Pattern[str]:
    """``GET /bowls/*`` as a pattern; raises ``ConfigurationError`` for what has another form."""
    method, _, path = operation.partition(" ")
    if not _METHOD.fullmatch(method) or not path.startswith("/"):
        raise ConfigurationError(
            f"'{operation}' is not a method and a path, such as 'GET /bowls/*'.",
            data={"operation": operation},
        )
    whole = path.removesuffix("/**")
    steps = "/".join("[^/]+" if step == "*" else re.escape(step) for step in whole.split("/"))
    rest = "(?:/.*)?" if whole != path else ""
    return re.compile(("[A-Z]+" if method == "*" else method) + " " + steps + rest, re.DOTALL)


def prepare_path(
    method: str,
    path: str,
    query: Mapping[str, Any],
    body: Any,
    allowed: Sequence[re.Pattern[str]],
) -> Prepared:
    """The request for a path that the model wrote; raises where ``allowed`` does not have it."""
    if "?" in path or "#" in path:
        raise ToolRefusedError("The path holds a query.", remedy="Give it as `query`.")
    steps = path.removeprefix("/").split("/")
    # A slash at the end is an empty last step, and means the same place.
    encoded = [_step("path", step) for step in (steps if steps[-1] else steps[:-1])]
    if not any(pattern.fullmatch(f"{method} {path}") for pattern in allowed):
        raise ToolRefusedError(
            f"{method} {path[:200]} is not among the operations that may be called.",
            data={"method": method},
        )
    end = "" if steps[-1] else "/"
    pairs = [(str(key), text) for key, value in query.items() for text in _texts(value)]
    headers = {} if body is None else {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    made = "/" + "/".join(encoded) + end if encoded else "/"
    return Prepared(made, pairs, headers, data)


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _step(argument: str, text: str) -> str:
    """One step of the path. Encoded, and still refused where a server that decodes would climb."""
    decoded = text
    for _ in range(_MAX_DECODINGS):
        parts = _SLASHES.split(decoded)
        # Some servers take what follows a semicolon off before they look at the dots.
        if any(part.partition(";")[0].strip() in {"", ".", ".."} for part in parts):
            raise ToolRefusedError(
                f"The value of '{argument}' would lead to another path.",
                remedy="Use a value without empty parts, '.' or '..'.",
                data={"argument": argument},
            )
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in decoded):
            raise ToolRefusedError(
                f"The value of '{argument}' holds a control character.",
                data={"argument": argument},
            )
        decoded = unquote(decoded)
    return quote(text, safe="")


def _query(parameter: Parameter, value: Any) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if isinstance(value, Mapping):
        if parameter.style == "deepObject":
            yield from ((f"{name}[{key}]", _text(inner)) for key, inner in value.items())
        elif parameter.explode:
            yield from ((str(key), _text(inner)) for key, inner in value.items())
        else:
            yield name, _joined(value)
    elif isinstance(value, list) and parameter.explode:
        yield from ((name, _text(item)) for item in value)
    elif isinstance(value, list):
        separator = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(parameter.style, ",")
        yield name, separator.join(map(_text, value))
    else:
        yield name, _text(value)


def _joined(value: Any) -> str:
    """OpenAPI's style ``simple``."""
    if isinstance(value, Mapping):
        return ",".join(f"{key},{_text(inner)}" for key, inner in value.items())
    return ",".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
