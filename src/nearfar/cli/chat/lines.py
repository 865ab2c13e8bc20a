"""Where the user's messages come from: a line editor on a terminal, else the lines of a pipe."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nearfar.settings import home
from nearfar.storage import writing

HISTORY = "chat_history"


class Lines(Protocol):
    """``ask`` raises EOFError at the end, and KeyboardInterrupt for Ctrl-C in the line."""

    live: bool
    """Whether a person sits there."""

    async def ask(self, prompt: str, default: str = "") -> str:
        """The next message; it may have several lines."""
        ...


def lines(words: Sequence[str]) -> Lines:
    """What fits standard input; ``words`` are completed by Tab."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return _Editor(words)
    return _Pipe()


class _Editor:
    """prompt-toolkit: history, search in it (Ctrl-R), several lines (Alt-Enter, or a backslash at the end)."""

    live = True

    def __init__(self, words: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory

        self._messages: Any = PromptSession(
            history=FileHistory(str(_private(home() / HISTORY))),
            completer=WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation="… ",
        )
        self._answers: Any = PromptSession()  # what is said to a question is no message

    async def ask(self, prompt: str, default: str = "") -> str:
        session = self._messages if prompt == "> " else self._answers
        text: str = await session.prompt_async(prompt, default=default)
        return text


def _bindings() -> Any:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor(1)
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _new_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _private(path: Path) -> Path:
    """The file, readable for its owner alone: what people write may be secret."""
    with writing(path):
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    return path


class _Pipe:
    """One message for each line that is not empty; a backslash at its end joins the next to it."""

    live = False

    async def ask(self, prompt: str, default: str = "") -> str:  # noqa: ARG002  # nobody reads them
        parts: list[str] = []
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                if parts:
                    return "\n".join(parts)
                raise EOFError
            line = line.rstrip("\r\n")
            if line.endswith("\\"):
                parts.append(line[:-1])
            elif parts or line.strip():
                return "\n".join([*parts, line])
