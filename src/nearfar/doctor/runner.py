"""Runs probes one after another; one that fails, hangs or breaks does not stop the rest."""

import contextvars
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from nearfar.errors import InternalError, NearfarError

from .report import Check, Report

Findings = Iterable[Check]


@dataclass(frozen=True)
class Probe:
    """Tries one part. Its findings are reported one by one as it yields them.

    ``limit_s`` is how long it may take in all; a probe that takes longer is left behind.
    """

    name: str
    run: Callable[[], Findings]
    limit_s: float = 20.0


@dataclass
class _Outcome:
    checks: list[Check] = field(default_factory=list)
    closed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, check: Check, on_check: Callable[[Check], None] | None) -> None:
        with self.lock:
            if self.closed:
                return
            self.checks.append(check)
            if on_check:
                on_check(check)


def run_probes(
    probes: Sequence[Probe],
    *,
    on_start: Callable[[str], None] | None = None,
    on_check: Callable[[Check], None] | None = None,
) -> Report:
    """Never raises for what a probe does; ``on_start`` and ``on_check`` tell of the progress."""
    checks: list[Check] = []
    for probe in probes:
        if on_start:
            on_start(probe.name)
        checks += _run(probe, on_check)
    return Report(tuple(checks))


def _run(probe: Probe, on_check: Callable[[Check], None] | None) -> list[Check]:
    outcome = _Outcome()

    def work() -> None:
        try:
            for check in probe.run():
                outcome.add(check, on_check)
        except Exception as error:  # noqa: BLE001  # whatever breaks is what doctor is asked to show
            if os.environ.get("NEARFAR_DEBUG"):
                traceback.print_exc()
            outcome.add(failed(probe.name, error), on_check)

    # A daemon: a call that hangs in native code must not keep the program from ending.
    context = contextvars.copy_context()  # holds, for example, which settings file was asked for
    thread = threading.Thread(
        target=context.run, args=(work,), name=f"doctor {probe.name}", daemon=True
    )
    thread.start()
    thread.join(probe.limit_s)
    if thread.is_alive():
        late = Check(
            probe.name,
            ok=False,
            detail=f"no answer within {probe.limit_s:.0f} s",
            remedy="Try again when the machine is less busy; if it stays, this part hangs: see "
            "docs/troubleshooting.md#nf-209.",
        )
        outcome.add(late, on_check)
        with outcome.lock:
            outcome.closed = True
    return outcome.checks


def failed(name: str, error: Exception) -> Check:
    """The check for an error: ours with its code and remedy, any other by its kind."""
    if isinstance(error, NearfarError):
        detail = f"{error.code} {error.message}"
        return Check(name, ok=False, detail=detail, remedy=error.remedy or f"See {error.docs}.")
    message = str(error).strip().split("\n", 1)[0]
    detail = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return Check(name, ok=False, detail=detail, remedy=InternalError.default_remedy)
