"""Requests in words: what a user says when a tool is to be called with certain values."""

from typing import Any

from .draw import Draw, Pool
from .toolkit import Argument, Tool

_NATURAL: dict[str, Pool[str]] = {
    "path": Pool(["at {v}", "in {v}", "from {v}", "{v}", "using {v}", "out of {v}", "the file {v}",
                  "stored in {v}", "located at {v}", "from the file {v}", "under {v}"], loose=True),
    "url": Pool(["at {v}", "from {v}", "{v}", "see {v}", "on {v}", "the page {v}", "using {v}",
                 "that is found at {v}", "which is at {v}"], loose=True),
    "email": Pool(["to {v}", "for {v}", "{v}", "with the address {v}", "via {v}", "mail it to {v}"], loose=True),
    "person": Pool(["for {v}", "of {v}", "from {v}", "to {v}", "named {v}", "by {v}", "called {v}",
                    "that belongs to {v}", "on behalf of {v}"], loose=True),
    "place": Pool(["in {v}", "for {v}", "to {v}", "at {v}", "near {v}", "from {v}", "around {v}",
                   "that is in {v}"], loose=True),
    "int": Pool(["{v}", "{v} of them", "{v} {l}", "{l} {v}", "up to {v}", "for {v}", "exactly {v}"], loose=True),
    "number": Pool(["{v}", "{l} {v}", "{v} {l}", "at {v}", "of {v}", "about {v}"], loose=True),
    "text": Pool(['"{v}"', "'{v}'", 'saying "{v}"', 'with "{v}"', "about {v}", 'that says "{v}"',
                  'called "{v}"', "titled '{v}'", "for {v}", ": {v}", 'on "{v}"', "named '{v}'"], loose=True),
    "code": Pool(["{v}", "number {v}", "with the id {v}", "no. {v}", "#{v}", "identified by {v}"], loose=True),
    "date": Pool(["on {v}", "for {v}", "by {v}", "{v}", "from {v}", "as of {v}", "until {v}"], loose=True),
    "clock": Pool(["at {v}", "by {v}", "from {v}", "for {v}", "around {v}", "not before {v}"], loose=True),
    "expression": Pool(["{v}", "of {v}", "for {v}", "what {v} is", "with {v}", "the result of {v}"], loose=True),
    "language": Pool(["in {v}", "to {v}", "into {v}", "for {v} speakers", "as {v}"], loose=True),
    "choice": Pool(["in {v}", "as {v}", "{v}", "with {v}", "set to {v}", "and make it {v}"], loose=True),
}  # fmt: skip
_NAMED = Pool([
    "with {l} {v}", "{l} {v}", "the {l} is {v}", "{l}: {v}", "{l} = {v}", "use {v} as the {l}",
    "set the {l} to {v}", "{v} for the {l}", "{l}={v}", "where the {l} is {v}", "having {l} {v}",
    "take {v} as {l}", "the {l} should be {v}", "with {v} as {l}", "with the {l} {v}",
    "the {l} being {v}", "let the {l} be {v}", "{l} ({v})", "({l} {v})", "I want {l} {v}",
    "its {l} is {v}", "as {l} take {v}", "given {l} {v}", "under {l} put {v}",
], loose=True)  # fmt: skip
_YES = Pool(["{l}", "make it {l}", "{l}: yes", "with {l} on", "{l} = true", "set {l}", "{l} is true",
             "turn {l} on", "and yes to {l}", "{l} please"])  # fmt: skip
_NO = Pool(["not {l}", "{l}: no", "with {l} off", "{l} = false", "without {l}", "{l} is false",
            "turn {l} off", "do not set {l}", "no {l}", "and no to {l}"])  # fmt: skip
_OPENINGS = Pool([
    "{v} the {n}", "{v} a {n}", "please {v} the {n}", "can you {v} the {n}", "I need you to {v} a {n}",
    "could you {v} a {n}", "I want to {v} the {n}", "{v} this {n}", "help me {v} a {n}", "{v} my {n}",
    "I would like to {v} a {n}", "{v} {n}", "it is time to {v} the {n}", "let us {v} the {n}",
    "now {v} the {n}", "would you {v} my {n}", "go and {v} the {n}", "hey, {v} the {n}",
    "we have to {v} a {n}", "the {n}: {v} it", "my {n} is what you should {v}", "{v} that {n} for me",
    "is it possible to {v} the {n}", "try to {v} the {n}", "you should {v} the {n}", "quickly {v} a {n}",
    "there is a {n} to {v}", "someone has to {v} the {n}", "kindly {v} the {n}", "I have a {n}, {v} it",
    "what I need is to {v} a {n}", "make sure to {v} the {n}",
], loose=True)  # fmt: skip
_BY_NAME = Pool([
    "Call {t} with {a}.", "Use {t} with {a}.", "Run {t}({p}).", "What does {t}({p}) give?", "{t}({p})",
    "Tell me what {t} returns for {a}.", "Please apply {t} to {a}.", "Try the tool {t} with {a}.",
    "I want the result of {t} for {a}. Use the tool.", "Execute {t}: {a}", "Compute {t}({p}) for me.",
    "What is the result of {t}({p})? Use the tool.", "{t} of {a}, please", "Give me {t}({p}).",
    "How much is {t}({p})?", "Invoke {t} using {a}.", "What comes out of {t}({p})?", "Find {t}({p}).",
    "Evaluate {t}({p}), calling the tool.", "I need {t} with {a}", "Let {t} run on {a}.",
], loose=True)  # fmt: skip
_ENDINGS = Pool(["", "", "", ".", ".", "?", "!", ", please.", " please", " now.", ", thanks.", " for me.",
                 ", and be quick.", ". Thank you!", " today."])  # fmt: skip
_ASIDES = Pool([
    "Hi! ", "Hello, ", "Good morning. ", "I am in a hurry. ", "My boss asked for this: ", "OK, next: ",
    "Sorry to bother you. ", "One more thing: ", "As we said before, ", "It is raining here. ",
    "So, ", "Well, ", "Listen: ", "First of all, ", "By the way, ", "I am back. ",
], loose=True)  # fmt: skip


def shown(value: Any, draw: Draw) -> str:
    """A value as a person writes it."""
    if isinstance(value, bool):
        return draw.one(["yes", "true"] if value else ["no", "false"])
    return str(value)


def clause(draw: Draw, argument: Argument, value: Any, named: bool) -> str:
    """One argument, by its label or in a way that its kind allows."""
    label = argument.label.replace("_", " ") if draw.chance(0.85) else argument.label
    if argument.kind == "bool":
        return draw.phrase(_YES if value else _NO).format(l=label)
    text = shown(value, draw)
    form = draw.phrase(_NAMED if named else _NATURAL[argument.kind])
    if named and argument.kind == "text":
        mark = draw.one(['"', "'", '"'])
        text = f"{mark}{text}{mark}"
    return form.format(v=text.replace("{", "(").replace("}", ")"), l=label)


def clauses(draw: Draw, tool: Tool, given: dict[str, Any]) -> list[str]:
    """All arguments in words; labels are said where two values could be mixed up."""
    kinds = [a.kind for a in tool.arguments]
    groups = [{"int", "number"}, {"person", "place", "text", "email", "code"}, {"date", "clock"}]
    said = []
    for argument in tool.arguments:
        if argument.label not in given:
            continue
        same = next((g for g in groups if argument.kind in g), {argument.kind})
        mixed = sum(kind in same for kind in kinds) > 1
        said.append(clause(draw, argument, given[argument.label], mixed or draw.chance(0.35)))
    return draw.shuffled(said) if draw.chance(0.5) else said


def _joined(draw: Draw, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    way = draw.weighted({", ": 4, " ": 2, " and ": 2, "; ": 0.4})
    if way != ", " or draw.chance(0.5):
        return way.join(parts)
    return ", ".join(parts[:-1]) + draw.one([" and ", ", and "]) + parts[-1]


def request(draw: Draw, tool: Tool, given: dict[str, Any]) -> str:
    """What a user says. Invented tools are asked for by what they do, or by name."""
    if not tool.act[0] or draw.chance(0.06):
        return by_name(draw, tool, given)
    if tool.act[0]:
        verb, noun = (draw.one(words) if draw.chance(0.5) else words[0] for words in tool.act)
        opening = draw.phrase(_OPENINGS).format(v=verb, n=noun)
    parts = clauses(draw, tool, given)
    text = opening
    if parts:
        text += draw.weighted({" ": 5, ", ": 2, ": ": 1, " - ": 0.3}) + _joined(draw, parts)
        if draw.chance(0.08):  # it begins with a value, which stays as it is
            return polished(draw, f"{_joined(draw, parts)}: {opening}", capital=False)
    return polished(draw, text)


def polished(draw: Draw, text: str, *, capital: bool = True) -> str:
    """Capital letters, an ending, sometimes something said before."""
    if draw.chance(0.12):
        aside = draw.phrase(_ASIDES)
        text = aside + text
    if draw.chance(0.75) and capital:
        text = text[0].upper() + text[1:]
    text = text.rstrip()
    ending = draw.phrase(_ENDINGS)
    return text if text[-1] in ".!?" and ending[:1] in (".", "!", "?") else text + ending


def by_name(draw: Draw, tool: Tool, given: dict[str, Any]) -> str:
    """A request that names the function, as programmers do."""
    if not given:
        form = draw.one(["Call {t}.", "Run {t}()", "Use {t}", "What does {t}() return?", "{t}()"])
        return form.format(t=tool.name)

    def quoted(label: str) -> str:
        value = given[label]
        return f'"{value}"' if isinstance(value, str) and draw.chance(0.7) else shown(value, draw)

    if len(given) == 1 and draw.chance(0.75):
        written = [quoted(label) for label in given]
    else:
        written = [f"{label}{draw.one(['=', '=', ': ', ' = '])}{quoted(label)}" for label in given]
    inside = ", ".join(written)
    form = draw.phrase(_BY_NAME)
    return form.format(t=tool.name, a=draw.one([inside, " and ".join(written)]), p=inside)
