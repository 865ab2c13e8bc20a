"""`nearfar tools list` and `nearfar tools approve`."""

import sys
from typing import Annotated

import typer

from .context import settings
from .output import emit_json

app = typer.Typer(help="Show what agents can call.", no_args_is_help=True, add_completion=False)


@app.callback()
def tools() -> None:
    """Show what agents can call."""


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the tools: what each may do without asking, and what it still needs to be used."""
    from nearfar.tools.listing import list_tools

    rows = list_tools(settings())
    if as_json:
        emit_json({"tools": rows})
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = row["permission"] if row["ready"] else f"not ready: {row['problem']}"
        sys.stdout.write(f"{row['name']:<{width}}  {state}\n")
        if row["ready"]:
            sys.stdout.write(f"{'':<{width}}  {row['description'].splitlines()[0]}\n")


@app.command("approve")
def approve(
    server: Annotated[str, typer.Argument(help="The server's name under mcp.servers.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Accept what an MCP server says about its tools now."""
    from nearfar.tools.mcp import approve_tools

    names = approve_tools(server, settings())
    if as_json:
        emit_json({"server": server, "tools": names})
        return
    sys.stdout.write("".join(f"{name}\n" for name in names))
