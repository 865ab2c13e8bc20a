"""`nearfar index add | list | show | remove | check`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError
from nearfar.telemetry import redact

from .context import settings
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.retrieval import Index, IngestReport, Progress
    from nearfar.retrieval.report import OnProgress

app = typer.Typer(
    help="Build and inspect indexes of documents.", no_args_is_help=True, add_completion=False
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NameArgument = Annotated[str, typer.Argument(help="The index.", show_default=False)]
_SHOWN = 20  # files of a kind that a report names


@app.command()
def add(
    name: Annotated[str, typer.Option("--name", help="The index; made if it is not there.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files and folders. Without any, those that were added before are read again.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read what is new or changed, take out what is gone, and report every file.

    The exit code is 1 where files failed and none could be read, else 0.
    """
    index = _open(name, create=bool(paths))
    with _progress() as on_progress:
        report = index.add(paths or [], on_progress=on_progress)
    if as_json:
        emit_json({"name": name} | redact(report.to_dict()))
    else:
        _print_report(name, report)
    if report.nothing_readable:
        raise typer.Exit(1)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Show all indexes."""
    from nearfar.errors import NearfarError
    from nearfar.retrieval import Index

    rows: list[dict[str, Any]] = []
    for name in Index.names():
        try:
            rows.append(asdict(Index.open(name, settings=settings()).info()))
        except NearfarError as error:  # one damaged index must not hide the others
            rows.append({"name": name, "error": error.to_dict()})
    if as_json:
        emit_json({"indexes": rows})
        return
    if not rows:
        sys.stdout.write("There are no indexes. `nearfar index add PATH --name NAME` makes one.\n")
    for row in rows:
        if "error" in row:
            sys.stdout.write(f"{row['name']}  {row['error']['code']}: {row['error']['message']}\n")
        else:
            sys.stdout.write(
                f"{row['name']}  {_count(row['files'], 'file')}, {_count(row['chunks'], 'passage')},"
                f" {_size(row['bytes'])}, {row['updated_at'] or 'empty'}\n"
            )


@app.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show what an index holds: its files, their passages, and what failed."""
    index = _open(name)
    info = index.info()
    rows = index.files()
    if as_json:
        files = [
            {"path": row.path, "document": row.document, "bytes": row.size, "error": row.error}
            for row in rows
        ]
        emit_json(asdict(info) | {"entries": files})
        return
    sys.stdout.write(
        f"{info.name}: {_count(info.files, 'file')}, {_count(info.documents, 'document')},"
        f" {_count(info.chunks, 'passage')}, {_size(info.bytes)}\n"
        f"  made by {info.embedder or '-'}, updated {info.updated_at or '-'}\n"
    )
    for root in info.roots:
        sys.stdout.write(f"  added: {root}\n")
    for row in rows:
        if row.error is None:
            sys.stdout.write(f"  {row.path}\n")
        else:
            sys.stdout.write(f"  {row.path}  {row.error['code']}: {row.error['message']}\n")


@app.command()
def remove(
    name: NameArgument,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders to take out; without any, the whole index goes."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take files out of an index, or the index away. The documents themselves are not touched."""
    from nearfar.retrieval import Index

    index = _open(name)
    if paths:
        removed = [path for given in paths for path in index.remove(given)]
        if as_json:
            emit_json({"name": name, "removed": removed, "index_removed": False})
        else:
            sys.stdout.write(f"{_count(len(removed), 'file')} taken out of {name}.\n")
        return
    if not yes:
        _confirm(name)
    Index.delete(name)
    if as_json:
        emit_json({"name": name, "removed": [], "index_removed": True})
    else:
        sys.stdout.write(f"The index {name} is gone.\n")


@app.command()
def check(name: NameArgument, as_json: JsonOption = False) -> None:
    """Say whether an index is whole, and which files have changed since it was made."""
    result = _open(name).check()
    if as_json:
        emit_json({"name": name} | asdict(result))
    else:
        for problem in result.problems:
            sys.stdout.write(f"Problem: {problem}\n")
        for path in result.stale[:_SHOWN]:
            sys.stdout.write(f"Changed since: {path}\n")
        _print_rest(len(result.stale))
        if result.ok:
            hint = f" `nearfar index add --name {name}` reads the changes." if result.stale else ""
            sys.stdout.write(f"The index {name} is whole.{hint}\n")
    if not result.ok:
        raise typer.Exit(1)


def _open(name: str, *, create: bool = False) -> "Index":
    from nearfar.retrieval import Index

    return Index.open(name, settings=settings(), create=create)


def _confirm(name: str) -> None:
    question = f"Remove the whole index {name}?"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} Nobody is there to ask.",
            remedy=f"`nearfar index remove {name} --yes` removes it; name a PATH for a part.",
        )
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


@contextmanager
def _progress() -> "Iterator[OnProgress | None]":
    """A bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from .output import err_console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bar(*columns, console=err_console(), transient=True) as bar:
        task = bar.add_task("Files", total=None, note="")

        def show_progress(progress: "Progress") -> None:
            note = f"{progress.chunks} passages  {Path(progress.path).name}"
            bar.update(task, completed=progress.done, total=progress.total, note=note)

        yield show_progress


def _print_report(name: str, report: "IngestReport") -> None:
    out = sys.stdout.write
    counts = [
        _count(len(report.read), "file") + " read",
        *(f"{len(report.unchanged)} unchanged" for _ in report.unchanged[:1]),
        *(f"{len(report.moved)} moved" for _ in report.moved[:1]),
        *(f"{len(report.duplicates)} duplicates" for _ in report.duplicates[:1]),
        *(f"{len(report.deleted)} gone" for _ in report.deleted[:1]),
        *(f"{len(report.skipped)} skipped" for _ in report.skipped[:1]),
        *(f"{len(report.failed)} failed" for _ in report.failed[:1]),
    ]
    out(
        f"{name}: {', '.join(counts)}; {_count(report.chunks, 'passage')}, {report.seconds:.1f} s\n"
    )
    for title, rows in (
        ("Moved", [f"{note.path} (was {note.text})" for note in report.moved]),
        ("Duplicate", [f"{note.path} (same as {note.text})" for note in report.duplicates]),
        ("Gone", report.deleted),
        ("Skipped", [f"{note.path}: {note.text}" for note in report.skipped]),
        ("Note", [f"{note.path}: {note.text}" for note in report.warnings]),
        ("Failed", [f"{f.error.code}: {f.error.message}" for f in report.failed]),
    ):
        for row in rows[:_SHOWN]:
            out(f"  {title}: {row}\n")
        _print_rest(len(rows))


def _print_rest(count: int) -> None:
    if count > _SHOWN:
        sys.stdout.write(f"  ... and {count - _SHOWN} more; --json names all\n")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / 1_048_576:.1f} MiB"
