"""`nearfar bench`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .context import settings
from .output import console, emit_json, err_console

if TYPE_CHECKING:
    from nearfar.doctor.bench import Measurement

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    model: Annotated[
        str | None, typer.Option(help="A configured name, or a folder; else the default model.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, once each: a rough idea in seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the model, embeddings, indexing and retrieval on this machine.

    Uses made-up texts in a temporary folder; indexes and documents of yours are not touched.
    """
    from nearfar.doctor.bench import QUICK, Sizes
    from nearfar.doctor.bench import bench as measure

    known = settings()
    name = model or ("default" if "default" in known.models else "builtin")
    progress, out, found = err_console(), console(), []
    with progress.status("") as status:
        for figure in measure(
            known, model=name, sizes=QUICK if quick else Sizes(), on_start=status.update
        ):
            found.append(figure)
            if not as_json:
                out.print(_line(figure), markup=False, soft_wrap=True)
    if as_json:
        emit_json({"model": name, "quick": quick, "measurements": [asdict(f) for f in found]})


def _line(figure: "Measurement") -> str:
    if figure.unit == "s":
        value = f"{1000 * figure.value:.1f} ms" if figure.value < 1 else f"{figure.value:.2f} s"
    else:
        value = f"{figure.value:.4g} {figure.unit.replace('1/s', 'per second')}"
    return f"{figure.name:<20} {value:>18}   {figure.detail}".rstrip()
