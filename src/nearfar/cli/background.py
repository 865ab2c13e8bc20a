"""Runs that go on without this terminal, and steps that end the program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .context import invocation, settings


def work_apart(run_id: str) -> None:
    """Start a process that works on the run and survives the terminal; errors go to its journal.

    Runs in a Postgres are for its workers: nothing is started.
    """
    from nearfar.storage.postgres import postgres_url

    if postgres_url(settings()) is not None:
        return
    command = [sys.executable, "-m", "nearfar", "runs", "work", run_id]
    config = invocation.get().config
    if config is not None:
        command += ["--config", config]
    options: dict[str, object] = {"start_new_session": True}
    if os.name == "nt":
        flags = ("DETACHED_PROCESS", "CREATE_NEW_PROCESS_GROUP")
        options = {"creationflags": sum(getattr(subprocess, name) for name in flags)}
    null = subprocess.DEVNULL
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, **options)  # type: ignore[call-overload]


@contextmanager
def program_ends(workflow: str) -> Iterator[None]:
    """A step that calls ``sys.exit`` has failed; the run goes on at it when it is resumed."""
    try:
        yield
    except SystemExit as stop:
        from nearfar.graphs.runtime.failures import program_ended

        raise program_ended(stop.code, None, {"workflow": workflow}) from stop
