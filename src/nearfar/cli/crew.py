"""`nearfar crew check|draw|schema`."""

import sys
from typing import Annotated

import typer

from .context import settings
from .output import emit_json

app = typer.Typer(help="Check and draw crews.", no_args_is_help=True, add_completion=False)

_File = Annotated[str, typer.Argument(metavar="CREW.yaml", help="The crew's file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def crew() -> None:
    """Check and draw crews; `nearfar run CREW.yaml` runs one."""


@app.command()
def check(file: _File, as_json: _Json = False) -> None:
    """Say whether a crew can be run: its file, its models and its tools."""
    from nearfar.agents.crew import build_crew, load_crew

    made = load_crew(file)
    build_crew(made, settings=settings())
    if as_json:
        roles = {name: role.tools for name, role in made.roles.items()}
        tasks = {name: made.needs(name) for name in made.tasks}
        emit_json({"ok": True, "name": made.name, "roles": roles, "tasks": tasks})
        return
    sys.stdout.write(f"{made.name}: {len(made.roles)} roles, {len(made.tasks)} tasks\n")


@app.command()
def draw(file: _File, as_json: _Json = False) -> None:
    """Print the crew's graph as Mermaid."""
    from nearfar.agents.crew import build_crew

    text = build_crew(file, settings=settings()).get_graph().draw_mermaid()
    if as_json:
        emit_json({"mermaid": text})
        return
    sys.stdout.write(text)


@app.command()
def schema() -> None:
    """Print the JSON schema of a crew's file, for editors."""
    from nearfar.agents.crew import crew_schema

    emit_json(crew_schema())
