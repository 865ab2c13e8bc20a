"""`nearfar models list`."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .context import settings
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.llm.listing import ListedModel

app = typer.Typer(
    help="Show the models that can be used.", no_args_is_help=True, add_completion=False
)


@app.callback()
def models() -> None:
    """Show the models that can be used."""


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the built-in and the configured models: where they are, and whether their files are there."""
    from nearfar.llm.listing import list_models

    rows = list_models(settings())
    if as_json:
        emit_json({"models": [asdict(row) | {"ok": row.problem is None} for row in rows]})
        return
    _show(rows)


def _show(rows: "list[ListedModel]") -> None:
    """Aligned columns; the folder comes last, because it may be long."""
    table = [("KIND", "NAME", "MODEL", "PROVIDER", "SIZE", "CONTEXT", "FOLDER")]
    table += [
        (
            row.kind,
            f"{row.name} *" if row.default else row.name,
            row.model,
            row.provider,
            _size(row.size_bytes),
            "?" if row.context is None else str(row.context),
            str(row.folder),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    for cells in table:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        sys.stdout.write("  ".join([*padded, cells[-1]]) + "\n")
    sys.stdout.write("* used when no name is given\n")
    for row in rows:
        if row.problem:
            sys.stderr.write(f"{row.name}: {row.problem}\n")


def _size(size_bytes: int) -> str:
    if size_bytes >= 1024**3:
        return f"{size_bytes / 1024**3:.1f} GiB"
    return f"{size_bytes / 1024**2:.1f} MiB"
