"""``nearfar ask``: a true, cited answer from one's own documents."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import console, emit_json, err_console, run_async

if TYPE_CHECKING:
    from nearfar.retrieval import Progress
    from nearfar.settings import Settings

app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_extra_args": True, "allow_interspersed_args": True})
def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    *,
    docs: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH...", help="Files and folders that the answer is to come from."),
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="An index made by `nearfar index add`, instead of --docs.")
    ] = None,
    mode: Annotated[
        Literal["answer", "quote"] | None,
        typer.Option(help="quote: only sentences of the documents, word for word."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of the settings; `builtin` is the built-in one.")
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Go on with the conversation of this name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer a question from documents, with citations.

    Says so where the documents do not answer; that too is exit code 0.
    """
    paths = _paths(docs, context.args)
    if paths and index is not None:
        raise UsageError(
            "Documents and an index were named at once.",
            remedy="Name either --docs PATH or --index NAME.",
        )
    if not paths and index is None and thread is None:
        raise UsageError(
            "Nothing says where to look for the answer.",
            remedy="Name files or folders with --docs PATH, or an index with --index NAME.",
        )
    if not question.strip():
        raise UsageError("The question is empty.", remedy="Write it in quotes after `ask`.")
    values: dict[str, Any] = {"question": question, "mode": mode}
    if paths or index is not None:
        values |= {"docs": paths or None, "index": index}
    settings = current_settings()
    if paths:
        _read(paths, settings)
    _run(values, settings, model, thread, as_json=as_json)


def _paths(docs: list[str] | None, more: list[str]) -> list[str]:
    """``--docs a b`` leaves ``b`` over as an argument; it is meant as a path only after --docs."""
    if more and not docs:
        raise UsageError(
            f"{more[0]!r} is one argument too many.", remedy="Put the question in quotes."
        )
    return [str(Path(path).expanduser().absolute()) for path in [*(docs or []), *more]]


def _read(paths: list[str], settings: "Settings") -> None:
    """Bring the hidden index of these paths up to date, with a progress bar.

    The graph would do it as well; here, in the main thread, Ctrl-C stops it at once.
    """
    from nearfar.retrieval import Index

    with _progress_bar() as on_progress:
        report = Index.for_paths(paths, settings=settings, on_progress=on_progress).report
    if report is not None:
        for failure in report.failed:
            sys.stderr.write(f"Not read: {failure.path}: {failure.error.message}\n")


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=err_console(), transient=True) as bar:
        task = bar.add_task("", total=None)

        def on_progress(at: "Progress") -> None:
            bar.update(task, completed=at.done, total=at.total, description=Path(at.path).name)

        yield on_progress


def _run(
    values: dict[str, Any],
    settings: "Settings",
    model: str | None,
    thread: str | None,
    *,
    as_json: bool,
) -> None:
    from nearfar.graphs.ask import build_ask
    from nearfar.graphs.registry import Workflow
    from nearfar.graphs.runtime.once import Listener, run_once

    workflow = Workflow(
        "ask", "built-in", "nearfar.graphs.ask:build_ask", lambda: build_ask(model, None, settings)
    )
    tokens = _Tokens(live=sys.stdout.isatty() and not as_json)
    listener = Listener(on_token=tokens.write if tokens.live else None)
    with _thinking(hidden=as_json) as stop:
        tokens.before_first = stop
        finished = run_async(
            run_once(workflow, values, settings, thread_id=thread, listener=listener, keep=False)
        )
    if as_json:
        emit_json(finished.output)
        return
    tokens.finish(finished.output["answer"])
    _show_citations(finished.output)


@contextmanager
def _thinking(*, hidden: bool) -> Iterator[Any]:
    """A spinner on standard error until it is stopped, where that is a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda: None
        return
    status = err_console().status("Thinking ...")
    status.start()
    try:
        yield status.stop
    finally:
        status.stop()


class _Tokens:
    """The answer: its words as they come on a terminal, else as a whole."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.before_first: Any = None
        self._written = ""

    def write(self, text: str) -> None:
        if not self._written and self.before_first is not None:
            self.before_first()
        self._written += text
        sys.stdout.write(text)
        sys.stdout.flush()

    def finish(self, answer: str) -> None:
        """End the line; print the answer where its words have not come, or the check changed it."""
        if self._written:
            sys.stdout.write("\n")
        if self._written.strip() == answer:
            return
        if self._written:
            sys.stdout.write("\nAfter the citations were checked:\n")
        console().print(answer, markup=False, soft_wrap=True)


def _show_citations(output: dict[str, Any]) -> None:
    out = console()
    if output["citations"]:
        out.print()
    for citation in output["citations"]:
        out.print(f"[{citation['n']}] {_place(citation)}", markup=False, soft_wrap=True)
        quote = " ".join(citation["quote"].split())
        out.print(f'    "{quote}"', markup=False, soft_wrap=True)
    if output["answered"]:
        out.print(
            f"\nConfidence: {output['confidence']:.0%}   Model: {output['model']}", markup=False
        )


def _place(citation: dict[str, Any]) -> str:
    parts = [_short(citation["source"])]
    if citation["page"] is not None:
        parts.append(f"page {citation['page']}")
    if citation["heading"]:
        parts.append(citation["heading"])
    return ", ".join(parts)


def _short(source: str) -> str:
    """The path as seen from the working directory, where it is below it."""
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
