"""``nearfar run``: any workflow, with its inputs as flags."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError, WorkflowInputError

from .background import work_apart
from .context import settings as current_settings
from .output import console, emit_json, err_console, prints_to_stderr, run_async

if TYPE_CHECKING:
    from nearfar.graphs.inputs import Field, InputSchema
    from nearfar.graphs.runtime.once import Finished, Listener

WAITING = 3

app = typer.Typer(add_completion=False)


@app.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    },
    epilog="After the workflow's name its own inputs stand as flags: --FIELD VALUE. "
    "`nearfar run WORKFLOW --help` lists them.",
)
def run(
    context: typer.Context,
    workflow: Annotated[
        str | None,
        typer.Argument(help="A name, FILE.py:ATTRIBUTE, package.module:ATTRIBUTE or CREW.yaml."),
    ] = None,
    *,
    input_file: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="FILE|-|{...}", help="JSON: a file, - for standard input, or itself."
        ),
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Keep the state under this name, and go on from it.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="Answer what the thread waits for: text or JSON."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the model's words as they come.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Let it go on in the background; `nearfar runs`.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    show_help: Annotated[
        bool, typer.Option("--help", help="Show this message, or the workflow's inputs.")
    ] = False,
) -> None:
    """Run a workflow and print its output.

    Exit code 3: it waits for a person; `nearfar runs approve ID` answers.
    """
    if workflow is None or workflow.startswith("-"):
        if show_help:
            typer.echo(context.get_help())
            return
        raise UsageError(
            "The workflow comes first: nearfar run WORKFLOW [--FIELD VALUE ...].",
            remedy=f"Known: {', '.join(_names())}; or name FILE.py:ATTRIBUTE.",
        )
    if show_help:
        _print_inputs(workflow)
        return
    if resume is not None and thread is None:
        raise UsageError("--resume answers a thread.", remedy="Name it with --thread T.")
    with prints_to_stderr() if as_json else nullcontext():  # the user's code may print
        values = values_of(workflow, input_file, context.args)
        screen = Screen(stream=stream, as_json=as_json)
        if detach:
            finished = _detached(workflow, values, thread, resume)
        else:
            finished = _run(workflow, values, thread, resume, screen)
    screen.show(finished)
    if finished.status == "waiting":
        raise typer.Exit(WAITING)


def _names() -> list[str]:
    from nearfar.graphs.registry import names

    return names(current_settings())


def _schema(workflow: str) -> "InputSchema":
    from nearfar.graphs.inputs import input_schema
    from nearfar.graphs.registry import find

    settings = current_settings()
    return input_schema(find(workflow, settings).graph(settings))


def values_of(workflow: str, input_file: str | None, args: list[str]) -> Any:
    """The file's values with those of the flags over them; None when there are neither."""
    values = None if input_file is None else _read_input(input_file)
    if not args:
        return values
    from nearfar.graphs.inputs import from_flags

    schema = _schema(workflow)
    flags = from_flags(schema, split_flags(args, schema))
    if values is None:
        return flags
    if not isinstance(values, dict):
        raise UsageError(
            "The input file holds no JSON object, so flags cannot add to it.",
            remedy="Use either the file or flags.",
        )
    return {**values, **flags}


def _read_input(name: str) -> Any:
    if name.lstrip().startswith("{"):
        try:
            return json.loads(name)
        except ValueError as error:
            raise _bad_input("", f"it is not JSON ({error})") from None
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        return json.loads(text)
    except OSError as error:
        raise UsageError(
            f"The input file {name} cannot be read: {error.strerror or error}.",
            remedy="Check the path.",
        ) from None
    except UnicodeDecodeError:
        raise _bad_input(name, "it is not UTF-8 text") from None
    except ValueError as error:
        raise _bad_input(name, f"it is not JSON ({error})") from None


def _bad_input(name: str, why: str) -> WorkflowInputError:
    source = {"-": "Standard input", "": "What --input says"}.get(name, f"The input file {name}")
    return WorkflowInputError(f"{source} cannot be used: {why}.", data={"fields": []})


def split_flags(args: list[str], schema: "InputSchema") -> list[tuple[str, str | None]]:
    """``--name value``, ``--name=value`` and ``--yes-or-no`` as pairs of name and text.

    A list takes all values up to the next flag; a yes/no field takes a value only when true or
    false follows.
    """
    pairs: list[tuple[str, str | None]] = []
    waiting = list(args)
    while waiting:
        arg = waiting.pop(0)
        if not arg.startswith("--") or arg == "--":
            raise UsageError(
                f"{arg!r} stands where a flag is expected.",
                remedy="Write inputs as --FIELD VALUE; quote values with spaces.",
            )
        name, has_value, value = arg[2:].partition("=")
        found = schema.get(name)
        if has_value:
            pairs.append((name, value))
        elif found is not None and found.kind == "array":
            pairs.extend((name, text) for text in _take_all(waiting) or [None])
        elif _takes_next(found, name, waiting):
            pairs.append((name, waiting.pop(0)))
        else:
            pairs.append((name, None))
    return pairs


def _takes_next(found: "Field | None", name: str, waiting: list[str]) -> bool:
    if not waiting or _is_flag(waiting[0]):
        return False
    if found is None:
        return not name.startswith("no-")
    return found.kind != "boolean" or waiting[0].lower() in {"true", "false", "yes", "no"}


def _take_all(waiting: list[str]) -> list[str | None]:
    taken: list[str | None] = []
    while waiting and not _is_flag(waiting[0]):
        taken.append(waiting.pop(0))
    return taken


def _is_flag(text: str) -> bool:
    name = text[2:].partition("=")[0]
    return text.startswith("--") and " " not in name and bool(name)


def _run(
    workflow: str,
    values: Any,
    thread: str | None,
    resume: str | None,
    screen: "Screen",
) -> "Finished":
    from nearfar.graphs.registry import find
    from nearfar.graphs.runtime.once import run_once

    settings = current_settings()
    work = run_once(
        find(workflow, settings),
        values,
        settings,
        thread_id=thread,
        resume=None if resume is None else json_or_text(resume),
        listener=screen.listener(),
    )
    return run_async(work)


def _detached(workflow: str, values: Any, thread: str | None, resume: str | None) -> "Finished":
    """Accept the run, and let a process of its own work on it."""
    if resume is not None:
        raise UsageError(
            "--resume and --detach do not go together.",
            remedy="Answer with: nearfar runs approve ID --detach.",
        )
    from nearfar.graphs.runtime.once import Finished
    from nearfar.graphs.runtime.runner import Runner

    async def accept() -> Finished:
        async with Runner(current_settings(), work=False) as runner:
            run = await runner.start(workflow, values, thread_id=thread)
            return Finished.of(await run.record())

    finished = run_async(accept())
    work_apart(finished.run_id)
    return finished


def json_or_text(text: str) -> Any:
    """A value that is typed on the command line."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_CALM_S = 1.0  # the same is not said again sooner


class Screen:
    """Tokens to standard output (or nowhere with ``--json``), steps and status to standard error."""

    def __init__(
        self, *, stream: bool, as_json: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._as_json = as_json
        self._clock = clock
        self._written = False
        self._said: dict[str, float] = {}  # when, by what it was about

    def listener(self) -> "Listener":
        """What a run is followed with."""
        from nearfar.graphs.runtime.once import Listener

        tokens = self._token if self._stream and not self._as_json else None
        if not (self._stream or sys.stderr.isatty()):
            return Listener(on_token=tokens)
        return Listener(on_token=tokens, on_step=self._step, on_progress=self._progress)

    def _token(self, text: str) -> None:
        self._written = True
        sys.stdout.write(text)
        sys.stdout.flush()

    def _step(self, name: str) -> None:
        if "" not in self._said:  # whose steps tell how far it is needs no names of steps
            self._say(f"step {name}", f"{name} ...")

    def _progress(self, told: Any) -> None:
        if isinstance(told, dict):
            told = " ".join(f"{name} {value}" for name, value in told.items() if value is not None)
        if isinstance(told, str):
            self._say("", told)

    def _say(self, about: str, text: str) -> None:
        now = self._clock()
        if not self._written and now - self._said.get(about, -_CALM_S) >= _CALM_S:
            self._said[about] = now
            sys.stderr.write(f"{text}\n")

    def show(self, finished: "Finished") -> None:
        """The end of the run, or how it stands."""
        if self._as_json:
            emit_json(finished.to_dict())
            return
        if finished.status in ("queued", "running"):
            out = console()
            out.print(f"Run {finished.run_id} goes on in the background.", markup=False)
            out.print(f"Look at it with: nearfar runs watch {finished.run_id}", markup=False)
        elif self._written:
            sys.stdout.write("\n")
        elif isinstance(finished.output, str):
            console().print(finished.output, markup=False, soft_wrap=True)
        else:
            text = json.dumps(finished.output, indent=2, ensure_ascii=False)
            console().print(text, markup=False, soft_wrap=True)
        if finished.status == "waiting":
            _show_questions(finished)


def _show_questions(finished: "Finished") -> None:
    err = err_console()
    for question in finished.output["__interrupt__"]:
        value = question["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        err.print(f"Waiting for an answer: {text}", markup=False, soft_wrap=True)
    err.print(f"Answer with: nearfar runs approve {finished.run_id}", markup=False)


def _print_inputs(workflow: str) -> None:
    schema = _schema(workflow)
    out = console()
    out.print(f"Usage: nearfar run {workflow} [--FIELD VALUE ...] [OPTIONS]\n", markup=False)
    if schema.fields is None:
        out.print("It takes one value: --input FILE|- with JSON.", markup=False)
    elif schema.fields:
        out.print("Inputs:")
        rows = [(f"{f.flag} {f.type_text}", _notes(f)) for f in schema.fields]
        width = max(len(left) for left, _ in rows) + 2
        for left, right in rows:
            out.print(f"  {left:<{width}}{right}".rstrip(), markup=False, soft_wrap=True)
    else:
        out.print("It takes no input.")
    out.print(
        "\nOptions: --input FILE|-, --thread T, --resume VALUE, --stream, --detach, --json",
        markup=False,
    )


def _notes(found: "Field") -> str:
    notes = [found.description] if found.description else []
    if found.required:
        notes.append("(required)")
    elif found.default not in (None, "", [], {}):
        notes.append(f"(default: {found.default})")
    return " ".join(notes)
