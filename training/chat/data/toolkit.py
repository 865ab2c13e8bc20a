"""Invented tools: a name, a description, typed arguments, and requests that fit them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import values
from .draw import Draw, Pool
from .labels import CHOICES, LABELS
from .vocabulary import NOUNS, VERBS

_KINDS = {
    "path": 3.0, "url": 2.0, "email": 1.0, "person": 2.0, "place": 2.0, "int": 4.0, "number": 1.5,
    "text": 4.0, "code": 1.0, "date": 1.2, "clock": 0.8, "expression": 0.6, "language": 0.6,
    "bool": 1.0, "choice": 1.5,
}  # fmt: skip
_MAKE: dict[str, Callable[[Draw], Any]] = {
    "path": values.path, "url": values.url, "email": values.email, "person": values.person,
    "place": values.place, "int": values.integer, "number": values.decimal, "text": values.text,
    "code": values.code, "date": values.date, "clock": values.clock,
    "expression": values.expression, "language": lambda draw: draw.value(values.LANGUAGES),
    "bool": lambda draw: draw.chance(0.6),
}  # fmt: skip
_TYPES = {"int": "integer", "number": "number", "bool": "boolean"}


@dataclass(frozen=True)
class Argument:
    label: str
    kind: str
    choices: tuple[str, ...] = ()
    required: bool = True

    def schema(self) -> dict[str, Any]:
        if self.choices:
            return {"type": "string", "enum": list(self.choices)}
        return {"type": _TYPES.get(self.kind, "string")}

    def make(self, draw: Draw) -> Any:
        return draw.one(self.choices) if self.choices else _MAKE[self.kind](draw)


@dataclass(frozen=True)
class Tool:
    """``act`` is what it does to what: the words that requests are made of."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    act: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    requests: tuple[str, ...] = field(default=())  # for ordinary tools: wordings of their own

    def definition(self) -> dict[str, Any]:
        properties = {argument.label: argument.schema() for argument in self.arguments}
        required = [argument.label for argument in self.arguments if argument.required]
        parameters = {"type": "object", "properties": properties, "required": required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


_NAMES = Pool([
    "{v}_{n}", "{n}_{v}", "{v}_{n}", "{v}{N}", "{v}_{n}_tool", "do_{v}_{n}", "{v}_the_{n}",
    "{n}_{v}er", "{v}-{n}", "{v}_{n}s", "api_{v}_{n}", "{V}{N}",
])  # fmt: skip
_DESCRIPTIONS = Pool([
    "{V} a {n}.", "{V}s a {n}.", "{V} the given {n}.", "Use it to {v} a {n}.", "{V} {n}s",
    "{V} one {n} and return it.", "Can {v} a {n}.", "{V} a {n} for the user.",
    "{V} the {n} with the given values.", "Tool to {v} a {n}.", "{V} a {n} or several {n}s.",
    "Lets you {v} any {n}.", "This will {v} the {n}.", "{V} a {n}; returns the outcome.",
    "Helps to {v} a {n}.", "{V} an existing {n}.", "{V} {n}.", "For when a {n} is to be handled: {v} it.",
], loose=True)  # fmt: skip


def _identifier(form: str, verb: str, noun: str) -> str:
    parts = {"v": verb, "n": noun, "V": verb.title(), "N": noun.title()}
    joint = "" if "{N}" in form else ("-" if "-" in form else "_")
    return form.format(**{key: part.replace(" ", joint) for key, part in parts.items()})


def arguments(draw: Draw, least: int = 1, most: int = 4) -> tuple[Argument, ...]:
    """Differently labelled arguments, at least one of them not a switch."""
    wanted = draw.weighted(
        {n: w for n, w in {0: 0.3, 1: 4, 2: 4, 3: 2, 4: 1}.items() if least <= n <= most}
    )
    made: dict[str, Argument] = {}
    while len(made) < wanted:
        kind = draw.weighted(_KINDS)
        if kind == "bool" and not made:
            continue
        label = draw.value(LABELS[kind])
        choices = draw.value(CHOICES) if kind == "choice" else ()
        if not any(set(label.split("_")) & set(known.split("_")) for known in made):
            made[label] = Argument(label, kind, choices)
    return tuple(made.values())


def invented_tool(draw: Draw, avoid: list[Tool], least: int = 1) -> Tool:
    """A tool that does something else than those given, sometimes nearly the same."""
    taken = {tool.act for tool in avoid}
    while True:
        verb, noun = draw.value(VERBS), draw.value(NOUNS)
        if avoid and avoid[0].act[0] and draw.chance(0.35):
            if draw.chance(0.5):
                verb = avoid[0].act[0]
            else:
                noun = avoid[0].act[1]
        if (verb, noun) not in taken:
            break
    name = _identifier(draw.phrase(_NAMES), verb[0], noun[0])
    said = draw.one(verb) if draw.chance(0.4) else verb[0]
    thing = draw.one(noun) if draw.chance(0.4) else noun[0]
    form = draw.phrase(_DESCRIPTIONS)
    text = form.format(v=said, n=thing, V=said[0].upper() + said[1:])
    return Tool(name, text, arguments(draw, least), (verb, noun))


def nonsense_tool(draw: Draw) -> Tool:
    """A function whose name says nothing: it can only be asked for by its name."""
    word = values.invented(draw)
    form = ["{w}_value", "{w}", "{w}_function", "compute_{w}", "{w}_number", "run_{w}", "{w}_of"]
    text = ["Apply {w} to the input.", "Compute the {w} of a value.", "The {w} function.",
            "Does {w}.", "Returns {w} for the input.", "Runs the {w} step."]  # fmt: skip
    kind = draw.weighted({"int": 5, "number": 1, "text": 2, "person": 1})
    made = [Argument(draw.value(LABELS[kind]), kind)] if draw.chance(0.9) else []
    if draw.chance(0.25):
        second = draw.value(LABELS["int"])
        made += [Argument(second, "int")] if all(a.label != second for a in made) else []
    return Tool(draw.one(form).format(w=word), draw.one(text).format(w=word), tuple(made))
