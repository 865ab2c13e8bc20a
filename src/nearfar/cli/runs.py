"""``nearfar runs``: what was started, how it stands, and what a person can do about it."""

import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nearfar.errors import UsageError

from .background import work_apart
from .context import settings as current_settings
from .output import console, emit_json, prints_to_stderr, run_async
from .run import WAITING, Screen, json_or_text

if TYPE_CHECKING:
    from nearfar.graphs.runtime.runner import Runner
    from nearfar.storage.journal import Record

T = TypeVar("T")

app = typer.Typer(add_completion=False, no_args_is_help=True)

_STATUSES = (
    "queued",
    "running",
    "waiting",
    "parked",
    "reconcile",
    "succeeded",
    "failed",
    "cancelled",
)
_DAY_S = 86_400.0

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
StreamOption = Annotated[
    bool, typer.Option("--stream", help="Print the model's words as they come.")
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Let it go on in the background.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or how it begins.")]


@app.command("list")
def list_runs(
    *,
    status: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the latest runs, and what those that wait are asking."""
    if status is not None and status not in _STATUSES:
        raise UsageError(f"There is no state {status!r}.", remedy=f"Known: {', '.join(_STATUSES)}.")

    async def find(runner: "Runner") -> "list[Record]":
        runs = await runner.list(status=status, workflow=workflow, limit=limit)
        return [await runner.journal.get(run.id) for run in runs]  # without their outputs

    records = with_runner(find)
    from nearfar.graphs.runtime.showing import is_left, summary

    if as_json:
        emit_json({"runs": [summary(record) for record in records]})
        return
    if not records:
        console().print("No runs.")
    for record in records:
        _print_line(summary(record))
        if is_left(record):
            console().print(f"    its process is gone; go on: nearfar runs resume {record.id[:12]}")


@app.command()
def show(run_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Show one run: its state, error, questions, checkpoints and effects."""
    from nearfar.graphs.runtime.showing import details

    async def find(runner: "Runner") -> dict[str, Any]:
        return await details(runner, await _record(runner, run_id))

    shown = with_runner(find)
    if as_json:
        emit_json(shown)
    else:
        _print_details(shown)


@app.command()
def watch(run_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Follow a run that is worked on elsewhere, until it ends or waits for a person."""

    async def follow(runner: "Runner") -> "Record":
        record = await _record(runner, run_id)
        run = await runner.get(record.id)
        async for event in run.events():
            told = event.data.get("status") or f"step {event.data.get('step')}"
            sys.stderr.write(f"{told}\n")
        return await run.settled()

    _end(with_runner(follow), Screen(stream=False, as_json=as_json))


@app.command()
def resume(
    run_id: IdArgument,
    *,
    stream: StreamOption = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that failed, was cancelled, or whose process is gone."""
    _go_on(run_id, lambda runner, record: runner.resume(record.id), stream, detach, as_json)


@app.command()
def approve(
    run_id: IdArgument,
    *,
    value: Annotated[
        str | None, typer.Option(metavar="JSON", help="The answer: JSON or text.")
    ] = None,
    edit: Annotated[
        str | None, typer.Option(metavar="JSON", help="Approve, with these arguments or this text.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    message: Annotated[str | None, typer.Option(help="Why, with --reject.")] = None,
    question: Annotated[
        str | None, typer.Option(metavar="ID", help="Which question, where there are several.")
    ] = None,
    stream: StreamOption = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer a run that waits: yes, unless you say otherwise."""
    if sum((value is not None, edit is not None, reject)) > 1:
        raise UsageError("Use one of --value, --edit and --reject.")
    from nearfar.graphs.runtime.answers import Answer

    if value is not None:
        answer = Answer("value", json_or_text(value))
    elif edit is not None:
        answer = Answer("edit", json_or_text(edit))
    else:
        answer = Answer("reject" if reject else "approve", message)

    async def give(runner: "Runner", record: "Record") -> Any:
        return await runner.resume(record.id, answer.to(record, question))

    _go_on(run_id, give, stream, detach, as_json)


@app.command()
def reconcile(
    run_id: IdArgument,
    *,
    done: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="It was done; what it returned: JSON or text."),
    ] = None,
    not_done: Annotated[
        bool, typer.Option("--not-done", help="Nothing was done: try again.")
    ] = False,
    effect: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which effect, where several are in doubt.")
    ] = None,
    stream: StreamOption = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what became of an effect that is in doubt, and go on; `runs show` tells what is known."""
    if (done is None) == (not not_done):
        raise UsageError(
            "Say what happened: --done VALUE or --not-done.",
            remedy=f"`nearfar runs show {run_id}` tells what is known.",
        )
    from nearfar.graphs.runtime.reconciling import settle
    from nearfar.storage.effects import NOT_DONE, Done

    outcome = NOT_DONE if done is None else Done(json_or_text(done))

    async def tell(runner: "Runner", record: "Record") -> Any:
        return await settle(runner, record.id, outcome, key=effect)

    _go_on(run_id, tell, stream, detach, as_json)


@app.command()
def cancel(run_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """End a run, wherever it is worked on."""

    async def end(runner: "Runner") -> "Record":
        run = await runner.cancel((await _record(runner, run_id)).id)
        return await run.record()

    record = with_runner(end)
    from nearfar.graphs.runtime.showing import summary

    if as_json:
        emit_json(summary(record))
    else:
        console().print(f"Cancelled {record.id}.", markup=False)


@app.command()
def fork(
    run_id: IdArgument,
    *,
    at: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Where; without it, the last one.")
    ] = None,
    stream: StreamOption = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start a new run from a checkpoint of an old one; the old one stays as it is."""
    _go_on(run_id, lambda runner, record: runner.fork(record.id, at), stream, detach, as_json)


@app.command()
def export(
    run_id: IdArgument,
    *,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; without it, standard output.")
    ] = None,
) -> None:
    """Write a run with its input, its states and its output as JSON."""
    from nearfar.graphs.runtime.showing import exported
    from nearfar.storage import atomic_write

    async def collect(runner: "Runner") -> dict[str, Any]:
        return await exported(runner, await _record(runner, run_id))

    found = with_runner(collect)
    if output is None:
        emit_json(found)
        return
    atomic_write(output, json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    console().print(f"Wrote {output}.", markup=False)


@app.command()
def prune(
    *,
    older_than_days: Annotated[
        float, typer.Option(min=0, help="Forget runs that ended so many days ago.")
    ] = 30,
    as_json: JsonOption = False,
) -> None:
    """Forget old runs that ended, with the states of their threads."""

    async def forget(runner: "Runner") -> int:
        return await runner.prune(older_than_s=older_than_days * _DAY_S)

    threads = with_runner(forget)
    if as_json:
        emit_json({"threads": threads})
    else:
        console().print(f"Forgot the runs of {threads} threads.")


@app.command(hidden=True)
def work(run_id: str) -> None:
    """Work on one run to its end; what `--detach` starts."""

    async def follow() -> None:
        from nearfar.graphs.runtime.runner import Runner

        async with Runner(current_settings(), adopt=False) as runner:
            runner.worker.own(run_id, stream=False)
            runner.worker.look()
            await (await runner.get(run_id)).settled()

    run_async(follow())


def with_runner(work: "Callable[[Runner], Awaitable[T]]") -> T:
    """Look at the runs, or change them, without working on any."""

    async def inside() -> T:
        from nearfar.graphs.runtime.runner import Runner

        async with Runner(current_settings(), work=False) as runner:
            return await work(runner)

    return run_async(inside())


async def _record(runner: "Runner", run_id: str) -> "Record":
    """The run whose id this is, or begins with this. Raises RunNotFoundError, UsageError."""
    await runner.worker.expire()
    found = await runner.journal.find(prefix=run_id, limit=2) if run_id.isalnum() else []
    if len(found) > 1 and all(record.id != run_id for record in found):
        raise UsageError(
            f"Several runs begin with {run_id!r}.", remedy="Write more of the run's id."
        )
    return found[0] if len(found) == 1 else await runner.journal.get(run_id)


def _go_on(
    run_id: str,
    begin: "Callable[[Runner, Record], Awaitable[Any]]",
    stream: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Put the run back to work, here or apart, and show how it ends."""
    from nearfar.graphs.runtime.once import followed

    screen = Screen(stream=stream, as_json=as_json)
    listener = screen.listener()

    async def inside() -> "Record":
        from nearfar.graphs.runtime.runner import Runner

        async with Runner(current_settings(), adopt=False, work=not detach) as runner:
            run = await begin(runner, await _record(runner, run_id))
            return await (run.record() if detach else followed(runner, run, listener))

    with prints_to_stderr() if as_json else nullcontext():
        record = run_async(inside())
    if detach:
        work_apart(record.id)
    _end(record, screen)


def _end(record: "Record", screen: Screen) -> None:
    from nearfar.graphs.runtime.handle import output_of
    from nearfar.graphs.runtime.once import Finished

    finished: Finished = Finished.of(record)
    if record.status not in ("queued", "running"):
        output_of(record)
    screen.show(finished)
    if finished.status == "waiting":
        raise typer.Exit(WAITING)


def _print_line(run: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"{run['id'][:12]}  {run['status']:<9}  {run['created_at'][:19]}  {run['workflow']}",
        markup=False,
        soft_wrap=True,
    )
    for question in run["questions"]:
        text = json.dumps(question["value"], ensure_ascii=False)
        out.print(f"    asks: {text}", markup=False, soft_wrap=True)
    if run["error"]:
        out.print(f"    {run['error']['message']}", markup=False, soft_wrap=True)


def _print_details(run: dict[str, Any]) -> None:
    out = console()
    for name in ("id", "workflow", "thread_id", "status", "attempt", "created_at", "updated_at"):
        out.print(f"{name:<12} {run[name]}", markup=False, soft_wrap=True)
    if run["error"]:
        out.print(f"{'error':<12} {run['error']['code']}: {run['error']['message']}", markup=False)
    for question in run["questions"]:
        text = json.dumps(question["value"], ensure_ascii=False)
        out.print(f"{'asks':<12} {question['id']}: {text}", markup=False, soft_wrap=True)
    for point in run["checkpoints"]:
        out.print(f"{'checkpoint':<12} {point['id']}  step {point['step']}", markup=False)
    for effect in run["effects"]:
        out.print(f"{'effect':<12} {json.dumps(effect, ensure_ascii=False)}", markup=False)
