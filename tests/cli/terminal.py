"""`nearfar` in a real pseudo-terminal, and what its screen shows."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pexpect
import pyte

ROWS, COLUMNS = 60, 100


class Terminal:
    """A program on a screen of ``ROWS`` x ``COLUMNS``. Waits look at the screen, not at bytes."""

    def __init__(self, *args: str, cwd: Path, limit_s: float = 40) -> None:
        self._limit_s = limit_s
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "nearfar.cli.main", *args],
            cwd=str(cwd),
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", "NO_COLOR": "1"},
            dimensions=(ROWS, COLUMNS),
            timeout=limit_s,
        )
        # prompt-toolkit asks a terminal where its cursor is.
        self._screen.write_process_input = self.child.send  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close(force=True)

    @property
    def text(self) -> str:
        """All that is and was on the screen, without trailing space."""
        past = ["".join(line[n].data for n in range(COLUMNS)) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*past, *self._screen.display]).rstrip()

    def read(self) -> bool:
        """Take what has come; False at the end of the program."""
        try:
            self._stream.feed(self.child.read_nonblocking(65536, timeout=0.05))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    def until(self, condition: Callable[[str], bool], what: str) -> str:
        """Read until the screen's text is so."""
        deadline = time.monotonic() + self._limit_s
        while not condition(self.text):
            alive = self.read()
            if not alive and not condition(self.text):
                raise AssertionError(f"it ended before {what}:\n{self.text}")
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} in {self._limit_s:g} s:\n{self.text}")
        return self.text

    def sees(self, wanted: str, times: int = 1) -> str:
        """Read until the text stands on the screen so many times."""
        return self.until(lambda text: text.count(wanted) >= times, repr(wanted))

    def ready(self) -> None:
        """Read until the prompt waits for a message."""
        self.until(lambda text: text.rsplit("\n", 1)[-1].strip() == ">", "prompt")

    def say(self, text: str) -> None:
        """Type a message and send it."""
        self.ready()
        self.child.send(text + "\r")

    def ends(self) -> int:
        """Read to the end of the program; its exit code."""
        deadline = time.monotonic() + self._limit_s
        while self.read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        self.child.wait()
        code = self.child.exitstatus
        return int(code) if code is not None else -int(self.child.signalstatus)
