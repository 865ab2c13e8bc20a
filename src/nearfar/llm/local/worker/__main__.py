"""Start of the worker process: claim the pipes, drop what could disturb, then serve."""

import os

# Before anything else can load the library: its telemetry is on by default and in native code.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contextlib
import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent that holds the other ends of standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _die_with_parent()
    incoming, outgoing = _claim_pipes()
    # The thread that reads frames must get its turn between two tokens, not some milliseconds on.
    sys.setswitchinterval(0.0001)
    from .loop import Pipes, guarded

    guarded(Pipes(incoming, outgoing))


def _claim_pipes() -> tuple[int, int]:
    """Own copies of both pipes; native code that prints then reaches standard error instead."""
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (incoming, outgoing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return incoming, outgoing


def _die_with_parent() -> None:
    """On Linux also a stopped or hanging worker ends when its parent is killed."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
