"""What a conversation looks like. Nothing that a model or a tool says can steer the terminal."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from nearfar.cli.output import console, error_block
from nearfar.errors import NearfarError

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_DATA = re.compile(r"<<<(?:end of )?data [0-9a-f]+[^\n]*?>>>\n?")
_WIDEST = 160


def clean(text: str) -> str:
    """Without control characters: escape sequences become harmless text."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n"))


def brief(text: str, most: int = _WIDEST) -> str:
    """One line, cut."""
    line = " ".join(clean(_DATA.sub("", text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def call_line(name: str, args: Mapping[str, Any]) -> str:
    """`calculator(expression="12 * 7")`."""
    inner = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in args.items())
    return brief(f"{name}({inner})")


class Screen:
    """Prints to standard output; styles only on a terminal."""

    def __init__(self) -> None:
        self._out = console()
        self._open = ""  # words of the answer on the line that is not ended yet

    def note(self, text: str) -> None:
        """A line about the conversation."""
        self._close()
        self._out.print(clean(text), style="dim", markup=False, soft_wrap=True)

    def text(self, text: str) -> None:
        """What a command shows."""
        self._close()
        self._out.print(clean(text), markup=False, soft_wrap=True)

    def error(self, error: NearfarError) -> None:
        """What went wrong, on standard error."""
        self._close()
        sys.stdout.flush()
        sys.stderr.write(
            clean(error_block(error)) if not sys.stderr.isatty() else error_block(error)
        )
        sys.stderr.flush()

    def token(self, text: str) -> None:
        """A piece of the answer."""
        text = clean(text)
        self._open += text
        sys.stdout.write(text)
        sys.stdout.flush()

    def call(self, name: str, args: Mapping[str, Any]) -> None:
        """A tool is called."""
        self._close()
        self._out.print(f"→ {call_line(name, args)}", style="cyan", markup=False, soft_wrap=True)

    def result(self, message: ToolMessage) -> None:
        """What it gave."""
        self._close()
        failed = message.status == "error"
        mark, style = ("✗", "red") if failed else ("←", "green")
        line = f"{mark} {message.name}: {brief(str(message.text))}"
        self._out.print(line, style=style, markup=False, soft_wrap=True)

    def answer(self, message: AIMessage) -> None:
        """The whole answer: ends the line, and says what its words did not, where they differ."""
        whole, said = clean(str(message.text)).strip(), self._open.strip()
        self._close()
        if not whole or whole == said:
            return
        if said:
            self._out.print("After the citations were checked:", style="dim", markup=False)
        self._out.print(whole, markup=False, soft_wrap=True)

    def sources(self, citations: Sequence[Mapping[str, Any]]) -> None:
        """Where the cited passages are from."""
        for one in citations:
            parts = [str(one["source"])]
            parts += [f"page {one['page']}"] if one.get("page") is not None else []
            parts += [str(one["heading"])] if one.get("heading") else []
            self.note(f"  [{one['n']}] {', '.join(parts)}")

    def request(self, action: Mapping[str, Any]) -> None:
        """A call that a person decides on."""
        self._close()
        title = f"{action['name']} asks to be allowed:"
        self._out.print(clean(title), style="bold yellow", markup=False, soft_wrap=True)
        for name, value in action.get("args", {}).items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            self._out.print(clean(f"  {name}: {shown}"), markup=False, soft_wrap=True)
        if action.get("description"):
            self._out.print(clean(str(action["description"])), style="dim", markup=False)

    def message(self, message: AnyMessage) -> None:
        """One of the past."""
        if isinstance(message, HumanMessage):
            self.text(f"> {message.text}")
        elif isinstance(message, ToolMessage):
            self.result(message)
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                self.call(call["name"], call["args"])
            if message.text:
                self.text(str(message.text))

    def _close(self) -> None:
        if self._open and not self._open.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._open = ""
