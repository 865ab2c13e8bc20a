"""`nearfar prompts list|show|render|check`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import PromptError, PromptVariableError, UsageError

from .context import settings
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.prompts import Library, Prompt, Variable

app = typer.Typer(
    help="Show, fill in and check prompts.", no_args_is_help=True, add_completion=False
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def prompts() -> None:
    """Show, fill in and check prompts."""


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """List the prompts: your own, and those that come with Nearfar."""
    shelf = _library()
    rows = [_row(prompt) for prompt in shelf.all()]
    if as_json:
        emit_json({"prompts": rows})
        return
    for row in rows:
        own = "" if row["origin"] == "built-in" else "  (your own)"
        sys.stdout.write(f"{row['name']}@{row['version']}  {row['description']}{own}\n")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")], as_json: _Json = False
) -> None:
    """Show a prompt: its variables and its text."""
    prompt = _library().get(name)
    if as_json:
        variables = {
            n: v.model_dump() | {"required": v.needed} for n, v in prompt.variables.items()
        }
        parts = [{"role": part.speaker, "text": part.text} for part in prompt.parts]
        emit_json({"prompt": _row(prompt) | {"variables": variables, "messages": parts}})
        return
    sys.stdout.write(
        f"{prompt.name}@{prompt.version}: {prompt.head.description}\n{prompt.file}\n\n"
    )
    for key, variable in prompt.variables.items():
        notes = [variable.type, *(["required"] if variable.needed else [])]
        notes += ["marked as data"] if variable.untrusted else []
        notes += [f"one of {', '.join(map(str, variable.enum))}"] if variable.enum else []
        sys.stdout.write(f"  {key} ({', '.join(notes)}) {variable.description}\n")
    for part in prompt.parts:
        sys.stdout.write(f"\n[[{part.speaker}]]\n{part.text.strip()}\n")


@app.command()
def render(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    var: Annotated[
        list[str] | None, typer.Option("--var", metavar="NAME=VALUE", help="A variable's value.")
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE|-", help="Values as JSON; - is standard input."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Print what the model would be sent."""
    prompt = _library().get(name)
    values = _from_file(input_file) if input_file else {}
    for pair in var or []:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"{pair!r} is not NAME=VALUE.", remedy="Write --var style=short.")
        values[key] = _value(prompt, key, text)
    messages = prompt.messages(values)
    if as_json:
        said = [{"role": _ROLES[m.type], "text": str(m.text)} for m in messages]
        emit_json({"name": prompt.name, "version": prompt.version, "messages": said})
        return
    for message in messages:
        sys.stdout.write(f"[[{_ROLES[message.type]}]]\n{message.text}\n\n")


_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="NAME, NAME@VERSION or FILE.md; none: all prompts.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=64, help="The model's window in tokens, for the length.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Say what is wrong with prompts, and what could be better.

    Exit code 1: one of them cannot be used, or has a warning.
    """
    shelf = _library()
    chosen = names or [f"{name}@{v}" for name in shelf.names() for v in _versions(shelf, name)]
    rows = [_checked(shelf, name, window) for name in chosen]
    bad = [r for r in rows if r["error"] or any(f["severity"] == "warning" for f in r["findings"])]
    if as_json:
        emit_json({"ok": not bad, "prompts": rows})
    else:
        for row in rows:
            _print(row)
    if bad:
        raise typer.Exit(1)


def _versions(shelf: "Library", name: str) -> list[int | str]:
    try:
        return list(shelf.versions(name))
    except PromptError:  # told when it is checked
        return ["1"]


def _checked(shelf: "Library", name: str, window: int | None) -> dict[str, Any]:
    from nearfar.prompts import check as find

    try:
        prompt = shelf.read(Path(name)) if name.endswith(".md") else shelf.get(name)
    except PromptError as error:
        if not names_a_prompt(error):
            raise
        return {"name": name, "version": None, "error": error.to_dict(), "findings": []}
    findings = [finding.to_dict() for finding in find(prompt, window=window)]
    return {"name": prompt.name, "version": prompt.version, "error": None, "findings": findings}


def names_a_prompt(error: PromptError) -> bool:
    """Whether the file is there, and is what is wrong."""
    return error.code == "NF-572"


def _print(row: dict[str, Any]) -> None:
    if row["error"]:
        sys.stdout.write(f"{row['name']}: error: {row['error']['message']}\n")
        return
    mark = "" if row["findings"] else ": good"
    sys.stdout.write(f"{row['name']}@{row['version']}{mark}\n")
    for found in row["findings"]:
        sys.stdout.write(
            f"  line {found['line']}: {found['severity']}: {found['message']} "
            f"{found['fix']} [{found['rule']}]\n"
        )


def _library() -> "Library":
    from nearfar.prompts import library

    return library(settings())


def _row(prompt: "Prompt") -> dict[str, Any]:
    return {
        "name": prompt.name,
        "version": prompt.version,
        "description": prompt.head.description,
        "origin": prompt.origin,
        "file": str(prompt.file),
        "variables": sorted(prompt.variables),
    }


def _from_file(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        values = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The values in {name} cannot be read: {error}.", remedy="Give a JSON object."
        ) from None
    if not isinstance(values, dict):
        raise UsageError(f"{name} holds no JSON object.", remedy='Write {"name": "value"}.')
    return values


def _value(prompt: "Prompt", key: str, text: str) -> Any:
    """A text as the variable's type; an unknown variable's stays text, and is told later."""
    variable: Variable | None = prompt.variables.get(key)
    if variable is None or variable.type == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        if variable.type == "list":
            return [part.strip() for part in text.split(",")]
        raise PromptVariableError(
            f"The prompt {prompt.name} takes a {variable.type} for {key}.",
            data={"name": prompt.name, "variables": [key]},
        ) from None
