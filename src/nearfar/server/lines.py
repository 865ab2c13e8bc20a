"""Lines of standard input, without holding up a program that is stopped."""

import asyncio
import os
import sys
import threading
from contextlib import suppress

from nearfar.errors import ToolLimitError

_CHUNK = 65_536
LONGEST = 8 * 1_048_576  # bytes of a line, as for what servers send (`max_message_mb`)


class StandardInput:
    """Iterates over its lines as text. May be made once in a process, in its event loop.

    A thread that waits for input cannot be stopped, so it is one that nobody waits for. What the
    program starts finds no input: it is not theirs to read. It ends at a line over ``LONGEST``, of
    which ``check`` tells.
    """

    def __init__(self) -> None:
        self._exceeded = False
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        own = os.dup(0)
        if sys.platform == "win32":
            import msvcrt

            msvcrt.setmode(own, os.O_BINARY)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        threading.Thread(target=self._read, args=(own,), name="nearfar-input", daemon=True).start()

    def __aiter__(self) -> "StandardInput":
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def check(self) -> None:
        """Raises ToolLimitError where a line was too long."""
        if self._exceeded:
            raise ToolLimitError(
                f"The client sent a message of more than {LONGEST // 1_048_576} MB.",
                remedy="Send less at a time; large things by the path of a file.",
                data={"limit": LONGEST},
            )

    def _read(self, own: int) -> None:
        with suppress(RuntimeError):  # the loop has ended
            rest = bytearray()
            while chunk := os.read(own, _CHUNK):
                *whole, last = chunk.split(b"\n")
                for line in whole:
                    self._put((rest + line).decode("utf-8", errors="replace"))
                    rest.clear()
                rest += last
                if len(rest) > LONGEST:
                    self._exceeded = True
                    rest.clear()
                    break
            if rest:
                self._put(rest.decode("utf-8", errors="replace"))
            self._put(None)

    def _put(self, line: str | None) -> None:
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
