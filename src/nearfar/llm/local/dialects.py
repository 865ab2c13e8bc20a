"""How model families write tool calls: one table, and how to find the right row.

A dialect is data. The parser (call_parser.py) and the grammar (grammar/tools.py) read it; a model
folder's own template refines it, since families differ in spaces and newlines from release to
release, and a trained model follows the spacing that it was trained on.
"""

import json
import random
import re
import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from nearfar.errors import ModelLoadError

from .call_parser import (
    CallArgsDelta,
    CallEnd,
    CallStart,
    CallSyntax,
    Event,
    InvalidToolCall,
    ParsedOutput,
    StreamParser,
    TextDelta,
    ToolCall,
    fold,
)

__all__ = [
    "DIALECTS",
    "CallArgsDelta",
    "CallEnd",
    "CallStart",
    "Dialect",
    "Event",
    "InvalidToolCall",
    "ParsedOutput",
    "StreamParser",
    "TextDelta",
    "ToolCall",
    "ToolSpec",
    "detect",
    "fold",
]

_ALPHANUMERIC: Final = string.ascii_letters + string.digits


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it; ``parameters`` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """How one model family writes calls.

    One call is ``opener + lead + JSON + trail + closer``; several stand one after another with
    ``between``, or, where ``as_list``, in one JSON list. Without an opener the JSON object alone
    is the call.
    """

    name: str
    opener: str = ""
    closer: str = ""
    lead: str = ""
    trail: str = ""
    between: str = ""
    as_list: bool = False
    arguments_key: str = "arguments"
    item_separator: str = ", "
    key_separator: str = ": "
    parallel: bool = True  # False: the family's template refuses several calls in one message
    also_opened_by: tuple[str, ...] = ()  # markers that some releases write in the opener's place
    id_prefix: str = "call_"
    id_chars: int = 24
    special: tuple[tuple[str, int], ...] = ()  # delimiters that are one token, and its id
    needs_prompt: bool = False  # the template does not list tools: `tool_prompt` must

    @property
    def syntax(self) -> CallSyntax:
        """What the parser looks for."""
        openers = tuple(marker for marker in (self.opener, *self.also_opened_by) if marker)
        return CallSyntax(openers, self.closer, bare=not self.opener)

    def new_id(self, rng: random.Random | None = None) -> str:
        """An id for a call, of the form that the family's template accepts."""
        choice = (rng or random.SystemRandom()).choice
        return self.id_prefix + "".join(choice(_ALPHANUMERIC) for _ in range(self.id_chars))

    def stream_parser(self, new_id: Callable[[], str] | None = None) -> StreamParser:
        """A parser for one output. Ids are ours: an id that the model writes is left out."""
        return StreamParser(self.syntax, new_id=new_id or self.new_id)

    def parse(self, text: str, *, new_id: Callable[[], str] | None = None) -> ParsedOutput:
        """Text and calls of a whole output.

        Ask only where tools were bound: in a dialect without an opener, an answer that is a JSON
        object of a call's shape is a call.
        """
        parser = self.stream_parser(new_id)
        return fold([*parser.feed(text), *parser.close()])

    def dumps(self, value: Any) -> str:
        """JSON in this dialect's spacing."""
        separators = (self.item_separator, self.key_separator)
        return json.dumps(value, ensure_ascii=False, separators=separators)

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Calls as the model would have written them, for templates that cannot say them."""
        bodies = [self.dumps({"name": c.name, self.arguments_key: c.args}) for c in calls]
        if self.as_list:
            bodies = [f"[{self.item_separator.join(bodies)}]"]
        written = [f"{self.opener}{self.lead}{b}{self.trail}{self.closer}" for b in bodies]
        return self.between.join(written)

    def tool_prompt(self, tools: Sequence[ToolSpec]) -> str:
        """A system text that lists the tools and says how to call one."""
        lines = [
            "You can call tools. To call one, answer with nothing but this:",
            self.render([ToolCall("TOOL", {"ARGUMENT": "VALUE"}, "")]),
            "When no tool is needed, answer in plain text. The tools are:",
        ]
        for tool in tools:
            facts = {"name": tool.name, "description": tool.description}
            lines.append(self.dumps({**facts, "parameters": dict(tool.parameters)}))
        return "\n".join(lines)


DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        # Qwen 2.5 and 3, Hermes 2 and 3, SmolLM 3, and the built-in models.
        Dialect(
            "hermes",
            opener="<tool_call>",
            closer="</tool_call>",
            lead="\n",
            trail="\n",
            between="\n",
        ),
        # Llama 3.1 to 3.3: the template raises on more than one call in a message; the tag stands
        # before calls of built-in tools only.
        Dialect(
            "llama3",
            arguments_key="parameters",
            parallel=False,
            also_opened_by=("<|python_tag|>",),
        ),
        # `functools` is what Phi-4-mini writes when it is prompted by an older template.
        Dialect(
            "phi-4-mini",
            opener="<|tool_call|>",
            closer="<|/tool_call|>",
            as_list=True,
            also_opened_by=("functools",),
        ),
        # Mistral 7B v0.3, Nemo, Ministral: their templates demand ids of 9 letters and digits.
        Dialect("mistral", opener="[TOOL_CALLS]", as_list=True, id_prefix="", id_chars=9),
        # Any other chat model: no markers, and the tools are described in the system turn.
        Dialect("generic", between="\n", needs_prompt=True),
    )
}
_ALIASES: Final = {"qwen": "hermes", "llama": "llama3", "phi4-mini": "phi-4-mini"}


def detect(
    template: str,
    special_ids: Mapping[str, int] | None = None,
    declared: str | None = None,
    *,
    json_separators: tuple[str, str] | None = None,
) -> Dialect:
    """The dialect of a model folder.

    Args:
        template: the chat template's source; "" where there is none.
        special_ids: all added tokens of the tokenizer and their ids, marked special or not (Qwen
            does not mark its delimiters so, and llguidance takes them for special anyway).
        declared: the dialect's name, where the folder declares it; it wins.
        json_separators: the declared (item, key) separators; read off the template if None.

    Raises:
        ModelLoadError: if ``declared`` is no dialect.

    """
    special = special_ids or {}
    name = _ALIASES.get(declared, declared) if declared else _recognise(template, special)
    if name not in DIALECTS:
        raise ModelLoadError(
            f"The model declares the tool-call dialect {declared!r}, which is not known.",
            remedy=f"Declare one of: {', '.join(DIALECTS)}.",
            data={"declared": declared, "known": list(DIALECTS)},
        )
    dialect = DIALECTS[name]
    item, key = json_separators or _separators(template, dialect)
    lead, trail, between = _padding(template, dialect)
    return replace(
        dialect,
        lead=lead,
        trail=trail,
        between=between,
        item_separator=item,
        key_separator=key,
        special=tuple((m, special[m]) for m in (dialect.opener, dialect.closer) if m in special),
        needs_prompt=not re.search(r"\btools\b", template),
    )


def _recognise(template: str, special_tokens: Collection[str]) -> str:
    seen = partial(_seen, template, special_tokens)
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if "<tool_call>" in template and "<function=" not in template:
        return "hermes"
    if seen("<|tool_call|>") and seen("<|/tool_call|>"):
        return "phi-4-mini"
    if "<|python_tag|>" in template or ("<|start_header_id|>" in template and "tools" in template):
        return "llama3"
    if not template and "<tool_call>" in special_tokens:
        return "hermes"
    return "generic"


def _seen(template: str, special_tokens: Collection[str], marker: str) -> bool:
    return marker in template or marker in special_tokens


def _separators(template: str, dialect: Dialect) -> tuple[str, str]:
    """Compact only where the template itself writes an envelope without spaces."""
    written = re.search(r'\\?"name\\?":(\s?)', template)
    if written and not written[1]:
        return ",", ":"
    return dialect.item_separator, dialect.key_separator


def _padding(template: str, dialect: Dialect) -> tuple[str, str, str]:
    """Lead, trail and between: the space around the JSON, as the template writes it for the calls of earlier turns."""
    if not dialect.opener or dialect.opener not in template:
        return dialect.lead, dialect.trail, dialect.between
    body = r"\{" if not dialect.as_list else r"\["
    # In Jinja source a newline is a line break or the two characters `\n` within a string.
    spaces = r"((?:\\n|\n| )*)"
    found = re.findall(re.escape(dialect.opener) + spaces + body, template)
    if not found:
        return dialect.lead, dialect.trail, dialect.between
    lead = str(found[-1]).replace("\\n", "\n")
    newline = lead if "\n" in lead else ""
    return lead, newline, newline
