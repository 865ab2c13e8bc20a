"""``nearfar``: finds the command, runs it, and turns whatever happens into an exit code.

Commands stand in a table and are imported when they are called: `nearfar --help` loads none of them.
A command's module holds ``app``, a ``typer.Typer``. Commands raise NearfarError; they print no
errors and need no exit codes of their own, except ``typer.Exit(3)`` and the like for results.
"""

import difflib
import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nearfar import __version__
from nearfar.errors import DiskFullError, InternalError, NearfarError, UsageError

from .context import Invocation, invocation
from .interrupts import Interrupts
from .output import fail

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130

# Name -> (module with `app`, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "ask": ("nearfar.cli.ask", "Answer a question from documents, with citations."),
    "chat": ("nearfar.cli.chat", "Talk with an assistant that has tools and a memory."),
    "run": ("nearfar.cli.run", "Run a workflow: a name, FILE.py:GRAPH or package.module:GRAPH."),
    "runs": ("nearfar.cli.runs", "Show runs; answer, resume, cancel and fork them."),
    "graph": ("nearfar.cli.graph", "Draw a workflow."),
    "index": ("nearfar.cli.index", "Build and inspect indexes of documents."),
    "models": ("nearfar.cli.models", "Show the models that can be used."),
    "route": ("nearfar.cli.route", "Ask through a router, and see why it chose what it chose."),
    "receipts": ("nearfar.cli.receipts", "Show what routers decided, and decide it once more."),
    "costs": ("nearfar.cli.costs", "Show what was used and spent, and where the budgets stand."),
    "cache": ("nearfar.cli.cache", "Show and clear the answers that routers keep."),
    "tools": ("nearfar.cli.tools", "Show what agents can call, and what they may do with it."),
    "crew": ("nearfar.cli.crew", "Check and draw crews; run one with `nearfar run CREW.yaml`."),
    "prompts": ("nearfar.cli.prompts", "Show, fill in and check the templates of prompts."),
    "doctor": ("nearfar.cli.doctor", "Try everything on this machine and say what to mend."),
    "bench": ("nearfar.cli.bench", "Measure models and retrieval on this machine."),
    "config": ("nearfar.cli.config", "Show and check the configuration."),
}
LOG_LEVELS = ("debug", "info", "warning", "error")

_HELP = """\
Usage: nearfar [OPTIONS] COMMAND [ARGS]...

Run LLM agents near (a model on this machine) and far (cloud models).

Options:
  --config PATH      The settings file, instead of nearfar.yaml in the working
                     directory or the user's configuration folder.
  --log-level LEVEL  debug, info, warning or error; log lines go to standard
                     error.
  --version          Show the version.
  --help             Show this message; after a command, show its own.

Commands:
"""


@dataclass(frozen=True)
class _Call:
    """The command line, taken apart: what concerns all commands, and the rest."""

    command: str | None
    args: tuple[str, ...]
    invocation: Invocation
    show_help: bool = False
    show_version: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the program's own) and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in (args[: args.index("--")] if "--" in args else args)
    _make_streams_safe()
    interrupts = Interrupts()
    try:
        try:
            with interrupts:
                code = _run(args)
        except NearfarError as error:
            code = fail(error, as_json=as_json)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:  # a library that ends the program
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:  # noqa: BLE001  # the outermost place: nobody else can report it
        if interrupts.seen:
            return _interrupted()
        return _unexpected(error, as_json=as_json)
    return code


def _run(args: Sequence[str]) -> int:
    call = _parse(args)
    if call.show_version:
        sys.stdout.write(f"nearfar {__version__}\n")
        return 0
    if call.show_help or call.command is None:
        out = sys.stdout if call.show_help else sys.stderr
        out.write(_help())
        return 0 if call.show_help else UsageError.exit_code
    if call.command not in COMMANDS:
        raise _unknown_command(call.command)
    from nearfar.telemetry import configure_logging

    configure_logging(call.invocation.log_level or "warning")
    token = invocation.set(call.invocation)
    try:
        app = import_module(COMMANDS[call.command][0]).app
        return _invoke(app, f"nearfar {call.command}", list(call.args))
    finally:
        invocation.reset(token)


def _parse(args: Sequence[str]) -> _Call:
    """The options of all commands may stand before or after the command, up to ``--``."""
    rest: list[str] = []
    options: dict[str, str] = {}
    show_help = show_version = False
    waiting = list(args)
    while waiting:
        arg = waiting.pop(0)
        name, has_value, value = arg.partition("=")
        if arg == "--":
            rest.extend([arg, *waiting])
            break
        if name in ("--config", "--log-level"):
            if not has_value and not waiting:
                raise UsageError(f"The option {name} needs a value.")
            options[name] = value if has_value else waiting.pop(0)
        elif not rest and arg in ("--help", "-h"):
            show_help = True
        elif not rest and arg in ("--version", "-V"):
            show_version = True
        elif not rest and arg.startswith("-") and arg != "--json":
            raise _unknown_option(arg)
        elif rest or arg != "--json":
            rest.append(arg)
    level = options.get("--log-level")
    if level is not None and level.lower() not in LOG_LEVELS:
        raise UsageError(f"--log-level must be one of {', '.join(LOG_LEVELS)}.")
    return _Call(
        command=rest[0] if rest else None,
        args=tuple(rest[1:]),
        invocation=Invocation(options.get("--config"), level.lower() if level else None),
        show_help=show_help,
        show_version=show_version,
    )


def _invoke(app: "typer.Typer", name: str, args: list[str]) -> int:
    """Run a typer app without typer's own main, which would print errors and end the program."""
    import typer

    command = typer.main.get_command(app)
    try:
        with command.make_context(name, args) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            return UsageError.exit_code
        raise _usage_error(error, name) from None
    return 0


def _usage_error(error: Any, name: str) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else name
    return UsageError(
        str(error.format_message()), remedy=f"See `{path} --help`.", data={"command": path}
    )


def _unknown_command(name: str) -> UsageError:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UsageError(
        f"There is no command '{name}'.{hint}",
        remedy="`nearfar --help` lists the commands.",
        data={"command": name, "known": list(COMMANDS)},
    )


def _unknown_option(name: str) -> UsageError:
    return UsageError(
        f"There is no option '{name.partition('=')[0]}' before the command.",
        remedy="`nearfar --help` lists the options; a command's own stand after it.",
        data={"option": name.partition("=")[0]},
    )


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    return _HELP + "".join(f"  {name:<{width}}{text}\n" for name, (_, text) in COMMANDS.items())


def _make_streams_safe() -> None:
    """Whatever the encoding of the terminal, writing never raises; closed streams swallow."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # for the process's life
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _interrupted() -> int:
    sys.stderr.write("Stopped.\n")
    return INTERRUPTED


def _reader_gone() -> int:
    """Whoever read our output has stopped (``| head``): end quietly, and let Python's exit do so too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return 1


def _unexpected(error: Exception, *, as_json: bool) -> int:
    if os.environ.get("NEARFAR_DEBUG"):
        import traceback

        traceback.print_exc()
    wrapped: NearfarError
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        wrapped = DiskFullError(
            f"No space is left on a disk{f' ({error.filename})' if error.filename else ''}."
        )
    else:
        told = f"{type(error).__name__}: {error}".strip().removesuffix(":")
        wrapped = InternalError(f"Something unexpected happened: {told}")
    try:
        return fail(wrapped, as_json=as_json)
    except OSError:  # standard output cannot be written: the other one may
        return fail(wrapped, as_json=False)


if __name__ == "__main__":
    sys.exit(main())
