"""Writing Lark text as llguidance reads it.

Lexemes follow JSON's own: a whole string, a whole number, one punctuation mark. llguidance's lexer
is greedy, so a lexeme that is the beginning of another one would hide what comes after it.
"""

import json
import re
from typing import Final

# llguidance writes out what is forced in the tokenizer's own way, and then a literal such as
# "<|im_end|>" would become the control token, which the grammar does not accept.
_LIKE_A_CONTROL_TOKEN: Final = re.compile(r'"[^"]*(?:<[^<>\[\]\s"]+>|\[/?[A-Z_]{3,}\])')


def literal(text: str) -> str:
    """A string literal."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def regex(source: str) -> str:
    """A regex literal; the source must hold no line break and no unescaped slash."""
    return f"/{source}/"


def sequence(*parts: str) -> str:
    """Parts one after another."""
    return " ".join(part for part in parts if part)


def alternatives(parts: list[str]) -> str:
    """One of the parts, each once."""
    distinct = list(dict.fromkeys(parts))
    return distinct[0] if len(distinct) == 1 else "(" + " | ".join(distinct) + ")"


class LarkWriter:
    """Collects rules and terminals; equal bodies share one name."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: dict[str, str] = {}

    def rule(self, body: str) -> str:
        """The name of a rule with this body."""
        return self._named("r", body)

    def terminal(self, body: str) -> str:
        """The name of a terminal (a regular expression) with this body."""
        return self._named("T", body)

    def parametric(self, name: str, bodies: list[str]) -> None:
        """A rule with a parameter, under a name of its own; each body may have a condition."""
        self._lines.append(f"{name}::_: " + " | ".join(bodies))

    def _named(self, prefix: str, body: str) -> str:
        key = f"{prefix} {body}"
        if key not in self._names:
            self._names[key] = f"{prefix}{len(self._names)}"
            self._lines.append(f"{self._names[key]}: {body}")
        return self._names[key]

    def text(self, start: str) -> str:
        """The whole grammar, whose start rule has the body ``start``."""
        text = "\n".join([f"start: {start}", *self._lines, ""])
        options = {"no_forcing": True} if _LIKE_A_CONTROL_TOKEN.search(text) else {}
        return f"%llguidance {json.dumps(options)}\n{text}"
