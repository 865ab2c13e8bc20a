"""`nearfar config show | check | schema | key`."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import ConfigurationError
from nearfar.telemetry import is_secret_key, redact

from . import keys
from .context import invocation, loaded
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.settings import Loaded, Source

app = typer.Typer(
    help="Show and check the configuration.", no_args_is_help=True, add_completion=False
)

app.add_typer(keys.app, name="key")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
KeyPath = tuple[str | int, ...]
DEFAULT = "default"
NO_KEYS = ("keyring", "none")
"""What stands for a key without being one."""


@dataclass(frozen=True)
class Row:
    """One setting: its key, what holds, and where that comes from."""

    key: str
    value: Any
    source: str


@app.command()
def show(as_json: JsonOption = False) -> None:
    """Show every setting, its value, and where the value comes from; secrets are masked."""
    found = loaded()
    file = str(found.source.file) if found.source.file else None
    rows = list(_rows(found))
    if as_json:
        emit_json(
            {
                "file": file,
                "settings": _values(found),
                "sources": {row.key: row.source for row in rows},
            }
        )
        return
    sys.stdout.write(f"# {file or 'no nearfar.yaml: defaults and environment'}\n")
    for row in rows:
        sys.stdout.write(
            f"{row.key}: {json.dumps(row.value, ensure_ascii=False)}  # {row.source}\n"
        )


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Say whether the configuration is valid, and warn about API keys that stand in the file."""
    from nearfar.settings import read_source

    source = read_source(invocation.get().config)
    warnings = list(_plain_secrets(source))
    if not as_json:
        for warning in warnings:
            sys.stderr.write(f"Warning: {warning['message']}\n")
    try:
        loaded()
    except ConfigurationError as error:
        error.data["warnings"] = warnings
        raise
    file = str(source.file) if source.file else None
    if as_json:
        emit_json({"ok": True, "file": file, "warnings": warnings})
    elif file:
        sys.stdout.write(f"{file} is valid.\n")
    else:
        sys.stdout.write("There is no nearfar.yaml; the defaults hold.\n")


@app.command()
def schema(as_json: JsonOption = False) -> None:
    """Print the JSON Schema of nearfar.yaml, for editors."""
    from nearfar.settings import json_schema

    if as_json:
        emit_json(json_schema())
    else:
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


def _values(found: "Loaded") -> dict[str, Any]:
    """What holds, secrets masked; a model's own options with those it takes from ``local``."""
    values: dict[str, Any] = found.settings.model_dump(mode="json")
    for name, model in values["models"].items():
        if "local" in model:
            model["local"] = found.settings.local_options(name).model_dump(mode="json")
    masked: dict[str, Any] = redact(values)
    return masked


def _rows(found: "Loaded") -> Iterator[Row]:
    from nearfar.settings import dotted

    for path, value in _leaves(_values(found), ()):
        yield Row(dotted(path), value, _source(found.source, path))


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _source(source: "Source", path: KeyPath) -> str:
    place = source.places.get(path)
    if place is None and len(path) == 4 and path[0] == "models" and path[2] == "local":
        place = source.places.get(("local", path[3]))
    if place is None:
        return DEFAULT
    filled = f" (from {', '.join(place.variables)})" if place.variables else ""
    return f"{place}{filled}"


def _plain_secrets(source: "Source") -> Iterator[dict[str, Any]]:
    from nearfar.settings import dotted

    for path, value in _leaves(source.tree, ()):
        place = source.places.get(path)
        if place is None or place.file is None or place.variables or not isinstance(value, str):
            continue
        key = dotted(path)
        if path[-1] == "api_key" and value in NO_KEYS:
            continue
        if (value and is_secret_key(str(path[-1]))) or redact(value) != value:
            variable = str(path[-1]).upper().replace("-", "_")
            yield {
                "key": key,
                "line": place.line,
                "message": f"{place}: {key} holds a secret in plain text. Put it into an "
                f"environment variable and write ${{{variable}}} here{_or_keyring(path)}.",
            }


def _or_keyring(path: KeyPath) -> str:
    if len(path) == 3 and path[0] == "models" and path[2] == "api_key":
        return f", or into the keyring (nearfar config key set {path[1]})"
    return ""
