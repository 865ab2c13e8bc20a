"""``nearfar graph``: a workflow as a picture."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import console

app = typer.Typer(add_completion=False, no_args_is_help=True)


class Form(StrEnum):
    """What a picture is written as."""

    mermaid = "mermaid"
    svg = "svg"
    png = "png"


_ENDINGS = {".png": Form.png, ".svg": Form.svg}


@app.callback()
def graph() -> None:
    """Look at the graph of a workflow."""


@app.command()
def draw(
    workflow: Annotated[
        str, typer.Argument(help="A name, FILE.py:ATTRIBUTE or package.module:ATTRIBUTE.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; without it, standard output.")
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="By default what the file's ending says.")
    ] = None,
) -> None:
    """Draw a workflow: as Mermaid text, SVG or PNG; nothing leaves this machine."""
    from nearfar.graphs.drawing import layered_svg, mermaid, svg_to_png
    from nearfar.graphs.registry import find
    from nearfar.storage import atomic_write

    chosen = form or _ENDINGS.get(output.suffix.lower() if output else "", Form.mermaid)
    if chosen is Form.png and output is None:
        raise UsageError("A PNG goes to a file.", remedy="Name it: --output graph.png.")
    settings = current_settings()
    drawn = find(workflow, settings).graph(settings).get_graph(xray=True)
    picture: str | bytes = mermaid(drawn) if chosen is Form.mermaid else layered_svg(drawn)
    if chosen is Form.png:
        picture = svg_to_png(str(picture))
    if output is None:
        typer.echo(picture, nl=False)
        return
    atomic_write(output, picture)
    console().print(f"Wrote {output}.", markup=False, soft_wrap=True)
