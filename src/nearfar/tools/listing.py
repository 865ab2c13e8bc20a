"""What `nearfar tools list` shows."""

from typing import Any

from nearfar.errors import NearfarError
from nearfar.settings import Settings

from .registry import names, tools


def list_tools(settings: Settings) -> list[dict[str, Any]]:
    """One row per tool; a tool that lacks its configuration says so in ``problem``."""
    rows: list[dict[str, Any]] = []
    for name in names():
        try:
            made = tools([name], settings)
        except NearfarError as error:
            rows.append(_row(name, problem=f"{error.message} {error.remedy}".strip()))
            continue
        rows += [_ready(one) for one in made]
        if not made:
            rows.append(_row(name, problem="Nothing is configured for it."))
    for server in settings.mcp.servers:
        rows += _of_server(server, settings)
    return rows


def _of_server(server: str, settings: Settings) -> list[dict[str, Any]]:
    from .mcp import changed_tools

    try:
        made = tools([f"mcp:{server}"], settings)
        changed = changed_tools(server, settings)
    except NearfarError as error:
        return [_row(f"mcp:{server}", problem=f"{error.message} {error.remedy}".strip())]
    told = f"Its description has changed: `nearfar tools approve {server}` accepts it."
    return [*map(_ready, made), *(_row(name, problem=told) for name in changed)]


def _row(name: str, *, problem: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "ready": problem is None,
        "problem": problem,
        "description": None,
        "permission": None,
        "arguments": None,
        "limits": None,
    }


def _ready(made: Any) -> dict[str, Any]:
    limits = made.guard.limits
    return _row(made.name, problem=None) | {
        "description": made.description,
        "permission": made.guard.policy.summary(made.name),
        "arguments": made.get_input_schema().model_json_schema(),
        "limits": {
            "timeout_s": limits.timeout_s,
            "max_output_chars": limits.max_output_chars,
            "max_argument_chars": limits.max_argument_chars,
        },
    }
