"""`nearfar doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from .context import loaded
from .output import console, emit_json, err_console

if TYPE_CHECKING:
    from nearfar.doctor.report import Check, Report

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="Try this model only: a configured name, or a folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try everything on this machine and say what to mend.

    Models are loaded and decode tokens, indexes are read. Exits with 1 if a check failed.
    """
    from nearfar.doctor.diagnosis import diagnose

    if as_json:
        report = diagnose(loaded, model=model)
        emit_json(report.to_dict())
    else:
        report = _told(model)
    if not report.ok:
        raise typer.Exit(1)


def _told(model: str | None) -> "Report":
    """One line for each check as it comes, and what to do about those that failed."""
    from nearfar.doctor.diagnosis import diagnose

    out, progress = console(), err_console()
    with progress.status("") as status:

        def show(check: "Check") -> None:
            mark = "[green]ok    [/green]" if check.ok else "[bold red]FAILED[/bold red]"
            out.print(mark, end=" ")
            out.print(f"{check.name:<24} {check.detail}", markup=False, soft_wrap=True)
            if check.remedy:
                out.print(f"{'':<31} -> {check.remedy}", markup=False, soft_wrap=True)

        report = diagnose(loaded, model=model, on_start=status.update, on_check=show)
    failed = sum(not check.ok for check in report.checks)
    if failed:
        out.print(f"{failed} of {len(report.checks)} checks failed.", style="bold red")
    else:
        out.print(f"All {len(report.checks)} checks passed.", style="green")
    return report
