"""How commands speak: results on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from nearfar.errors import NearfarError
from nearfar.telemetry import redact

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def emit_json(value: Any) -> None:
    """Print the one JSON object of a command with ``--json``."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    indent = 2 if sys.stdout.isatty() else None
    text = json.dumps(
        value, ensure_ascii=not unicode, indent=indent, allow_nan=False, default=_plain
    )
    sys.stdout.write(text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def console() -> "Console":
    """For results that people read. Knows NO_COLOR, pipes and narrow terminals."""
    from rich.console import Console

    return Console(highlight=False)


def err_console() -> "Console":
    """For progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def fail(error: NearfarError, *, as_json: bool) -> int:
    """Show the error, as a block for people or as the JSON object, and return its exit code."""
    if as_json:
        emit_json({"error": redact(error.to_dict())})
    else:
        sys.stderr.write(error_block(error))
    return error.exit_code


def error_block(error: NearfarError) -> str:
    """What happened, what to do, where to read on; in plain text, so that it fits any terminal."""
    bold, red, off = ("\033[1m", "\033[31m", "\033[0m") if _coloured() else ("", "", "")
    lines = [f"{bold}{red}Error {error.code}{off}{bold}: {redact(error.message)}{off}"]
    if error.remedy:
        lines.append(f"  What to do: {error.remedy}")
    lines.append(f"  More: {error.docs}")
    return "\n".join(lines) + "\n"


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.name != "nt"


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """What is printed meanwhile, by Python or below it, goes to standard error."""
    sys.stdout.flush()
    kept: int | None = None
    with suppress(OSError):  # one of the two is closed
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end; Ctrl-C cancels it and raises KeyboardInterrupt.

    Steps that are plain functions run in threads, which nothing can stop. After Ctrl-C they are
    left behind: neither the loop nor the program's end waits for them.
    """
    import asyncio

    from nearfar.storage.postgres import loop_factory

    from .context import settings
    from .interrupts import default_interrupt
    from .threads import DaemonThreads

    threads = DaemonThreads()
    factory = loop_factory(settings()) if os.name == "nt" else None
    with default_interrupt(), asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_default_executor(threads)
        try:
            return runner.run(work)
        except KeyboardInterrupt:
            threads.abandon()
            raise
