"""``nearfar schedule``: start workflows at set times."""

from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError

from .background import work_apart
from .output import console, emit_json, prints_to_stderr
from .run import values_of
from .runs import with_runner

if TYPE_CHECKING:
    from nearfar.graphs.runtime.runner import Runner
    from nearfar.storage.schedules import Schedule

app = typer.Typer(add_completion=False, no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="The workflow's own inputs stand as flags, --FIELD VALUE, or in the file of --input.",
)
def add(
    context: typer.Context,
    name: NameArgument,
    *,
    workflow: Annotated[
        str, typer.Option(help="A name, FILE.py:ATTRIBUTE or package.module:ATTRIBUTE.")
    ],
    cron: Annotated[
        str | None,
        typer.Option(metavar="LINE", help="As in crontab: minute hour day month day-of-week."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="30s, 15m, 2h, 1d or 1h30m.")
    ] = None,
    tz: Annotated[
        str | None, typer.Option(metavar="ZONE", help="As Europe/Berlin; else this machine's.")
    ] = None,
    input_file: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE|-", help="The input as JSON; - is standard input."),
    ] = None,
    misfire: Annotated[
        str, typer.Option(help="What becomes of missed times: run-once, skip or run-all.")
    ] = "run-once",
    grace: Annotated[
        str, typer.Option(metavar="LENGTH", help="How late a time is still in time.")
    ] = "60s",
    tenant: Annotated[str | None, typer.Option(help="Whose runs these are.")] = None,
    priority: Annotated[str, typer.Option(help="interactive, normal or batch.")] = "batch",
    as_json: JsonOption = False,
) -> None:
    """Start a run of a workflow at set times; `nearfar worker` looks at the clock."""
    from nearfar.graphs.runtime.schedules.times import parse_length

    if (cron is None) == (every is None):
        raise UsageError("Say when: either --cron LINE or --every LENGTH.")
    length = None if every is None else timedelta(seconds=parse_length(every, "every"))
    with prints_to_stderr() if as_json else nullcontext():  # the user's code may print
        values = values_of(workflow, input_file, context.args)

        async def make(runner: "Runner") -> "Schedule":
            return await runner.schedules.add(
                name,
                workflow,
                values,
                cron=cron,
                every=length,
                zone=tz,
                misfire=misfire,
                grace_s=parse_length(grace, "grace"),
                tenant=tenant,
                priority=priority,
            )

        made = with_runner(make)
    _show(made, as_json, f"Added {name}.")


@app.command("list")
def list_schedules(*, as_json: JsonOption = False) -> None:
    """Show all schedules, when they are due next, and what became of their times."""
    from nearfar.graphs.runtime.schedules.showing import summary

    found = with_runner(lambda runner: runner.schedules.list())
    if as_json:
        emit_json({"schedules": [summary(one) for one in found]})
        return
    if not found:
        console().print("No schedules.")
    for one in found:
        _print_line(summary(one))


@app.command()
def show(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Show one schedule."""
    from nearfar.graphs.runtime.schedules.showing import summary

    shown = summary(with_runner(lambda runner: runner.schedules.get(name)))
    if as_json:
        emit_json(shown)
        return
    for key, value in shown.items():
        if value not in (None, ""):
            console().print(f"{key:<12} {value}", markup=False, soft_wrap=True)


@app.command()
def pause(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Start nothing until `resume`; times until then do not count as missed."""
    _show(with_runner(lambda runner: runner.schedules.pause(name)), as_json, f"Paused {name}.")


@app.command()
def resume(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Go on with the next time from now on."""
    _show(with_runner(lambda runner: runner.schedules.resume(name)), as_json, f"Resumed {name}.")


@app.command()
def remove(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Forget a schedule; the runs that it started stay."""
    with_runner(lambda runner: runner.schedules.remove(name))
    if as_json:
        emit_json({"removed": name})
    else:
        console().print(f"Removed {name}.", markup=False)


@app.command("run-now")
def run_now(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Start a run at once, in the background; the schedule's times stay as they are."""

    async def start(runner: "Runner") -> dict[str, Any]:
        run = await runner.schedules.run_now(name)
        return {"run_id": run.id, "thread_id": run.thread_id, "status": await run.status()}

    with prints_to_stderr() if as_json else nullcontext():
        started = with_runner(start)
    work_apart(started["run_id"])
    if as_json:
        emit_json(started)
        return
    console().print(f"Run {started['run_id']} goes on in the background.", markup=False)
    console().print(f"Look at it with: nearfar runs watch {started['run_id']}", markup=False)


def _show(schedule: "Schedule", as_json: bool, done: str) -> None:
    from nearfar.graphs.runtime.schedules.showing import summary

    shown = summary(schedule)
    if as_json:
        emit_json(shown)
        return
    when = f" Next: {shown['next_at']} ({shown['tz']})." if shown["next_at"] else ""
    console().print(f"{done}{when}", markup=False, soft_wrap=True)


def _print_line(shown: dict[str, Any]) -> None:
    rule = shown["cron"] or f"every {timedelta(seconds=shown['every_s'])}"
    state = "paused" if shown["paused"] else shown["next_at"] or "never again"
    out = console()
    out.print(
        f"{shown['name']:<16} {state:<26} {rule} {shown['tz']}  {shown['workflow']}",
        markup=False,
        soft_wrap=True,
    )
    told = ("fired", "missed", "overlapped", "failed")
    out.print("    " + ", ".join(f"{name} {shown[name]}" for name in told), markup=False)
    if shown["overdue"]:
        out.print("    overdue: start `nearfar worker`, which looks at the clock", markup=False)
    if shown["last_error"]:
        out.print(f"    {shown['last_error']['message']}", markup=False, soft_wrap=True)
