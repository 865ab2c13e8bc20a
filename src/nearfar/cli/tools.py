"""`nearfar tools list`."""

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
