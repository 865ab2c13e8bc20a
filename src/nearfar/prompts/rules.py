"""What is wrong with a prompt, or could be better. Each rule is a function of the prompt."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from . import language
from .template import Prompt, Variable

Severity = Literal["warning", "hint"]

_CHARACTERS_PER_TOKEN = 3.0  # rather too many tokens than too few
_REPLY_SHARE = 4  # one part in four of the window is kept for the reply

_FORMAT = re.compile(
    r"\b(?:json|yaml|csv|markdown|table|lists?|bullets?|bullet points|sentences?|paragraphs?"
    r"|one (?:word|line|number)|yes or no|in the (?:form|format|language)|format(?:ted)?"
    r"|write only|answer only|reply only|write exactly|answer with|reply with|return (?:only|the|a)"
    r"|nothing else|be brief|at most \w+|headings?|sections?|word for word)\b",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:etc\.?|and so on|some(?:how|thing)|stuff|things|a few|several|appropriate(?:ly)?"
    r"|as needed|if possible|if necessary|try to|maybe|perhaps|reasonabl[ey]|properly|nice(?:ly)?"
    r"|good enough|as you see fit|various|and/or)\b",
    re.IGNORECASE,
)
_OUTSIDE = re.compile(
    r"^(?:text|texts|content|contents|document|documents|docs|page|pages|passage|passages|web"
    r"|html|email|emails|mail|message_text|rows?|table|result|results|notes|sources?|file|files"
    r"|code|diff|transcript|comments?|reviews?|context|evidence|snippets?)$"
)
_REFUSES = re.compile(
    r"\b(?:if (?:the|they|it|there|nothing|none|no)\b.{0,60}\b(?:not|no|nothing|none)\b"
    r"|(?:do|does) not (?:say|know|answer|contain)|say (?:so|that)|cannot|only from|only what)",
    re.IGNORECASE | re.DOTALL,
)
_OPPOSED = (
    (r"\b(?:be brief|briefly|short|concise(?:ly)?)\b", r"\b(?:in (?:great )?detail|detailed|thorough(?:ly)?|exhaustive(?:ly)?|at length)\b"),
    (r"\bonly (?:json|yaml)\b", r"\b(?:explain|explanation|comment on|before the json)\b"),
)  # fmt: skip
_UNSEEN = re.compile(
    "[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
_SECRET = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{12,}|ghp_[A-Za-z0-9]{20,}|AIza[0-9A-Za-z_-]{20,})"
)
_SHOUTING = re.compile(r"\b[A-Z]{4,}(?:\s+[A-Z]{2,}){2,}\b|!{2,}")


@dataclass(frozen=True)
class Finding:
    """One suggestion. ``line`` counts in the file; 1 where the whole prompt is meant."""

    rule: str
    severity: Severity
    message: str
    fix: str
    line: int = 1

    def to_dict(self) -> dict[str, Any]:
        """As ``nearfar prompts check --json`` prints it."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "fix": self.fix,
            "line": self.line,
        }


def check(prompt: Prompt, *, window: int | None = None) -> list[Finding]:
    """What the rules say, by line. ``window`` is the model's, in tokens; None: length is no matter."""
    found = [finding for rule in RULES for finding in rule(prompt)]
    if window is not None:
        found += _too_long(prompt, window)
    return sorted(found, key=lambda finding: (finding.line, finding.rule))


def tokens(prompt: Prompt) -> int:
    """About how many tokens the template itself has, without the values of its variables."""
    return round(sum(len(part.text) for part in prompt.parts) / _CHARACTERS_PER_TOKEN)


def _said(prompt: Prompt) -> str:
    """All text, also that of includes."""
    texts = [part.text for part in prompt.parts]
    waiting = [use.name for text in texts for use in language.read(text).includes]
    while waiting and prompt.load:
        text = prompt.load(waiting.pop()) or ""
        texts.append(text)
        waiting += [use.name for use in language.read(text).includes]
    return "\n".join(texts)


def _matches(prompt: Prompt, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    for part in prompt.parts:
        for match in pattern.finditer(part.text):
            yield match.group(), part.line + part.text.count("\n", 0, match.start())


def _no_output_format(prompt: Prompt) -> Iterator[Finding]:
    if not prompt.head.output and not _FORMAT.search(_said(prompt)):
        yield Finding(
            "no-output-format",
            "warning",
            "Nothing says in what form the model answers.",
            "Say it (a sentence, a list, JSON with these keys), or set `output` in the front matter.",
        )


def _ambiguous(prompt: Prompt) -> Iterator[Finding]:
    for word, line in _matches(prompt, _VAGUE):
        message = f"{word!r} can be understood in more than one way."
        yield Finding(
            "ambiguous", "hint", message, "Name the number, the condition or the thing.", line
        )


def _unused(prompt: Prompt) -> Iterator[Finding]:
    used = {use.name for part in prompt.parts for use in language.read(part.text).variables}
    inherited = {name for name in prompt.variables if name not in prompt.head.variables}
    waiting = [i.name for part in prompt.parts for i in language.read(part.text).includes]
    while waiting and prompt.load:
        reading = language.read(prompt.load(waiting.pop()) or "")
        used |= {use.name for use in reading.variables}
        waiting += [use.name for use in reading.includes]
    for name in prompt.variables:
        if name not in used and name not in inherited:
            message = f"The variable {name!r} stands nowhere in the text."
            yield Finding("unused-variable", "warning", message, "Use it, or take it out.")


def _unmarked(prompt: Prompt) -> Iterator[Finding]:
    for name, variable in prompt.variables.items():
        if _OUTSIDE.match(name) and not variable.untrusted and variable.type != "boolean":
            message = f"The variable {name!r} looks like text from outside, which may hold orders."
            yield Finding(
                "unmarked-data",
                "warning",
                message,
                "Set `untrusted: true` for it, so that it is marked.",
            )


def _undescribed(prompt: Prompt) -> Iterator[Finding]:
    bare = [name for name, variable in prompt.head.variables.items() if not variable.description]
    if bare:
        message = f"{', '.join(bare)}: nothing says what to fill in."
        yield Finding("no-description", "hint", message, "Give each variable a `description`.")
    if not prompt.head.description:
        yield Finding(
            "no-description",
            "hint",
            "Nothing says what the prompt is for.",
            "Give it a `description`.",
        )


def _no_way_out(prompt: Prompt) -> Iterator[Finding]:
    data = [name for name, variable in prompt.variables.items() if _is_data(name, variable)]
    if data and not _REFUSES.search(_said(prompt)):
        message = f"Nothing says what to do where {', '.join(data)} does not hold the answer."
        yield Finding(
            "no-way-out", "hint", message, "Say what to write then, or a model will make it up."
        )


def _is_data(name: str, variable: Variable) -> bool:
    return variable.untrusted or bool(_OUTSIDE.match(name))


def _contradiction(prompt: Prompt) -> Iterator[Finding]:
    said = _said(prompt)
    for left, right in _OPPOSED:
        one = re.search(left, said, re.IGNORECASE)
        other = re.search(right, said, re.IGNORECASE)
        if one and other:
            message = f"{one.group()!r} and {other.group()!r} contradict each other."
            yield Finding("contradiction", "warning", message, "Keep one of them.")


def _unseen(prompt: Prompt) -> Iterator[Finding]:
    for _, line in _matches(prompt, _UNSEEN):
        message = "A character that nobody sees stands here."
        yield Finding("hidden-character", "warning", message, "Take it out.", line)


def _secret(prompt: Prompt) -> Iterator[Finding]:
    for _, line in _matches(prompt, _SECRET):
        message = "This looks like a key. A prompt goes to the model and into logs."
        yield Finding("secret", "warning", message, "Take it out, and make a new key.", line)


def _shouting(prompt: Prompt) -> Iterator[Finding]:
    for said, line in _matches(prompt, _SHOUTING):
        message = f"{said!r}: capitals do not make a rule clearer."
        yield Finding("shouting", "hint", message, "Say why the rule holds instead.", line)


def _empty(prompt: Prompt) -> Iterator[Finding]:
    if not _said(prompt).strip():
        yield Finding("empty", "warning", "The prompt has no text.", "Write one.")


def _too_long(prompt: Prompt, window: int) -> Iterator[Finding]:
    used = tokens(prompt)
    room = window - window // _REPLY_SHARE
    if used > room:
        message = f"The text alone has about {used:,} tokens; {room:,} fit beside the answer."
        yield Finding("too-long", "warning", message, "Shorten it, or use a larger model.")
    elif used > room // 2 and prompt.variables:
        message = f"The text alone takes about {used:,} of {room:,} tokens."
        yield Finding("too-long", "hint", message, "Leave more room for the values.")


RULES: tuple[Callable[[Prompt], Iterator[Finding]], ...] = (
    _no_output_format,
    _ambiguous,
    _unused,
    _unmarked,
    _undescribed,
    _no_way_out,
    _contradiction,
    _unseen,
    _secret,
    _shouting,
    _empty,
)
