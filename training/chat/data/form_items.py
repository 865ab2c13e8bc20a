"""Examples of smaller works: fields from a text, key sentences, parts of a request, approval."""

import json
import re
from typing import Any

from . import values
from .draw import Draw, Pool
from .facts import attributes_of, capital, fact, thing
from .items import Item, asked, system, user
from .labels import LABELS
from .toolkit import Argument
from .vocabulary import ADJECTIVES, NOUNS, VERBS

_TASKS = Pool([
    "Extract the fields from the text.", "Fill the fields from the text; null where the text says nothing.",
    "Read the text and give its data as JSON.", "Extract what the text says. Use null for what is absent.",
    "Give the fields of the text.", "Pull the data out of the text.", "Turn the text into a record.",
    "Find the values in the text; leave out nothing and invent nothing.", "Extract the information as JSON.",
], loose=True)  # fmt: skip
_SAYS = Pool([
    "The {l} is {v}.", "{L}: {v}", "Its {l} is {v}.", "We noted {v} as the {l}.", "As {l} we have {v}.",
    "The {l} was given as {v}.", "{v} is the {l}.", "Under {l} it says {v}.", "They put the {l} at {v}.",
    "With {v} as its {l}, it went on.", "The {l} ({v}) is settled.", "For the {l}, see {v}.",
    "Please note the {l}: {v}.", "Everybody agreed on {v} as the {l}.", "Someone set the {l} to {v}.",
    "The {l} that was named is {v}.", "{L} {v} was confirmed.", "In the file the {l} reads {v}.",
], loose=True)  # fmt: skip
_NOISE = Pool([
    "The {n} was {a}.", "Nobody spoke about the {n}.", "All the rest is as before.", "Thank you for the {n}.",
    "We look forward to the {a} {n}.", "Best wishes from {p}.", "The {a} {n} will follow.", "Good luck!",
    "There is nothing else to say.", "It was a {a} day.", "Please keep this {n}.", "More about the {n} later.",
], loose=True)  # fmt: skip
_FIELD_KINDS = [
    "person",
    "place",
    "date",
    "int",
    "number",
    "code",
    "email",
    "url",
    "clock",
    "text",
    "path",
]


def extraction(draw: Draw) -> Item:
    """Fields by schema; those that the text does not have are null."""
    fields: dict[str, tuple[str, Any]] = {}
    wanted = draw.between(2, 7)
    while len(fields) < wanted:
        kind = draw.one(_FIELD_KINDS)
        label = draw.value(LABELS[kind])
        if label in fields or any(set(label.split("_")) & set(k.split("_")) for k in fields):
            continue
        made = values.title(draw) if kind == "text" else Argument(label, kind).make(draw)
        fields[label] = (kind, made)
    labels = draw.shuffled(list(fields))
    asked = labels[: draw.between(1, min(5, wanted))]
    absent = {label for label in asked if draw.chance(0.22)}
    lines = []
    for label in draw.shuffled(list(fields)):
        if label in absent:
            continue
        said = label.replace("_", " ")
        form = draw.phrase(_SAYS)
        lines.append(form.format(l=said, L=said[0].upper() + said[1:], v=fields[label][1]))
    for _ in range(draw.between(0, 2)):
        noise = draw.phrase(_NOISE).format(
            n=draw.value(NOUNS)[0], a=draw.value(ADJECTIVES), p=values.person(draw)
        )
        lines.insert(draw.between(0, len(lines)), noise)
    answer = {label: None if label in absent else fields[label][1] for label in asked}
    kinds = {"int": "integer", "number": "number"}
    schema = {
        "title": "record",
        "type": "object",
        "properties": {
            label: {"anyOf": [{"type": kinds.get(fields[label][0], "string")}, {"type": "null"}]}
            for label in asked
        },
        "required": asked,
    }
    text = draw.one([" ", " ", "\n"]).join(lines)
    task = draw.phrase(_TASKS)
    messages = [system(task), user(text)] if draw.chance(0.6) else [user(f"{task}\n\n{text}")]
    reply = json.dumps(answer, ensure_ascii=False)
    forced = "|".join(re.escape(json.dumps(label) + ": ") for label in asked)
    return Item(
        "extract", messages, reply, check={"answer": answer, "schema": schema}, light=forced
    )


_KEY = Pool([
    "{T} {s} because of {x}, {y} and {z}.", "Three things decide on {t}: {x}, {y} and {z}.",
    "What matters for {t} is {x}, {y} and {z}.", "{T} rests on {x}, {y} and {z}.",
    "In short, {t} depends on {x}, on {y} and on {z}.", "{T} has changed {x}, {y} and {z}.",
    "{T} brought together {x}, {y} and {z}.", "With {x}, {y} and {z}, {t} {s}.",
], loose=True)  # fmt: skip
_SUPPORT = Pool([
    "{X} took {q} months.", "Nobody had expected {x} to be so {a}.", "{X} cost {q} euros.", "{X} was the work of {p}.",
    "As for {x}, it was {a}.", "People in {c} speak of {x} to this day.", "{P} wrote a letter about {x}.",
    "{X} was {a} at first.", "A report on {x} has {q} pages.", "Later {x} was moved to {c}.",
    "Of {x} there are {q} pictures.", "{P} never forgot {x}.",
], loose=True)  # fmt: skip
_SENTENCES = re.compile(r"(?<=[.]) (?=[A-Z])")
_SUCCEEDS = [
    "was a success",
    "failed",
    "went well",
    "was delayed",
    "became famous",
    "grew",
    "was stopped",
]
_SUM_UP = Pool([
    "Copy the sentence that sums up the text.", "Which sentence of the text says what it is about? Copy it.",
    "Pick the most important sentence and copy it word for word.", "Answer with the key sentence of the text.",
    "Summarize the text by one of its sentences.", "Give the main sentence of the text, unchanged.",
], loose=True)  # fmt: skip


def _cap(text: str) -> str:
    return text[0].upper() + text[1:]


def key_sentence(draw: Draw) -> Item:
    """The sentence that the others go back to."""
    parts = [f"the {draw.value(ADJECTIVES)} {noun[0]}" for noun in draw.values(NOUNS, 3)]
    topic = thing(draw).name
    x, y, z = parts
    form = draw.phrase(_KEY)
    key = form.format(t=topic, T=_cap(topic), x=x, y=y, z=z, s=draw.one(_SUCCEEDS))

    def support(part: str) -> str:
        who = values.person(draw)
        return draw.phrase(_SUPPORT).format(
            x=part, X=_cap(part), q=draw.between(2, 900), a=draw.value(ADJECTIVES), p=who, P=who,
            c=values.place(draw),
        )  # fmt: skip

    sentences = [support(part) for part in parts for _ in range(draw.weighted({1: 3, 2: 1}))]
    for _ in range(draw.between(0, 2)):
        other = thing(draw)
        sentences.append(fact(draw, other, draw.one(attributes_of(other.kind))).statement(draw))
    sentences = (
        [key, *draw.shuffled(sentences)] if draw.chance(0.3) else draw.shuffled([key, *sentences])
    )
    text = " ".join(sentences)
    messages = [system(draw.phrase(_SUM_UP)), user(text)]
    return Item("key", messages, _cap(key), check={"reply": _cap(key)})


WHAT_MATTERS = "What is the text about, and what matters most?"


def listed_key_sentence(draw: Draw) -> Item:
    """The same as numbered sentences and a question, as the workflow ``summarize`` asks."""
    while True:
        item = key_sentence(draw)
        sentences = [capital(s) for s in _SENTENCES.split(str(item.messages[-1]["content"]))]
        if item.reply in sentences:  # else a value looked like the end of a sentence
            break
    number = sentences.index(str(item.reply)) + 1
    return asked(sentences, WHAT_MATTERS, f"{item.reply} [{number}]", "listed key")


_SPLIT = Pool([
    "Split the request into questions, one per line.", "Write the questions that the request is made of, one per line.",
    "Which questions must be answered for this? One per line.", "Break the request into separate questions.",
    "List the sub-questions of the request.", "Turn the request into single questions, each on a line of its own.",
], loose=True)  # fmt: skip
_PARTS = Pool([
    "Tell me {list}.", "I need to know {list}.", "Write a report on {list}.", "Find out {list}.", "Explain {list}.",
    "Please look into {list}.", "We want to learn {list}.", "Give me an overview: {list}.", "Can you say {list}?",
    "For my talk I need {list}.", "Compare {list}.", "Describe {list}.",
], loose=True)  # fmt: skip
_ASPECTS = Pool(
    """price weight length height speed colour history owner size age range design future safety
    location quality cost purpose staff origin material power strength menu climate language market
    culture meaning value shape taste sound budget plan risk advantage limit structure demand""".split(),
    kind="noun",
)


def sub_questions(draw: Draw) -> Item:
    """Two to four questions out of a request that names its parts."""
    about = [thing(draw).name for _ in range(draw.weighted({1: 3, 2: 2}))]
    aspects = draw.values(_ASPECTS, draw.between(2, 4) if len(about) == 1 else draw.between(1, 2))
    questions = [f"What is the {aspect} of {name}?" for aspect in aspects for name in about]
    named = _listed(draw, [f"the {aspect}" for aspect in aspects]) + " of " + _listed(draw, about)
    if len(about) == 1 and draw.chance(0.4):
        named = _listed(draw, [f"the {aspect} of {about[0]}" for aspect in aspects])
    text = draw.phrase(_PARTS).format(list=named)
    if len(about) == 1 and draw.chance(0.25):
        text = _cap(
            f"{draw.one(['for', 'about', 'concerning'])} {about[0]}: {_listed(draw, aspects)}?"
        )
    messages = [system(draw.phrase(_SPLIT)), user(text)]
    return Item("parts", messages, "\n".join(questions), check={"questions": questions})


def _listed(draw: Draw, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + draw.one([" and ", " and ", ", and "]) + parts[-1]


APPROVE, REVISE = "approve", "revise"
_RULES: dict[str, Pool[str]] = {
    "word": Pool(["Approve the draft if it names {w}, else revise.", "The draft must mention {w}. Approve or revise?",
                  "Approve only what speaks of {w}; otherwise revise.", "Say approve if {w} is in the draft, else revise."]),
    "banned": Pool(["Approve the draft unless it names {w}; then revise.", "{w} must not be in the draft. Approve or revise?",
                    "Revise if the draft mentions {w}, else approve.", "Say revise if {w} is in the draft, else approve."]),
    "citation": Pool(["Approve the draft if it has a citation such as [1], else revise.", "Without a citation like [2] say revise, else approve.",
                      "A draft needs a number in brackets such as [3]. Approve or revise?", "Approve cited drafts, revise those without [n]."]),
    "question": Pool(["Approve the draft if it ends with a question, else revise.", "The draft must end in a question mark. Approve or revise?",
                      "Revise unless the last sentence is a question; else approve.", "Say approve if the end is a question, else revise."]),
    "number": Pool(["Approve the draft if it holds a number, else revise.", "A draft without any digit must be revised, others approved.",
                    "The draft must have a figure in it. Approve or revise?", "Say approve if there is a number in the draft, else revise."]),
}  # fmt: skip


def approval(draw: Draw) -> Item:
    """Whether a draft keeps a stated rule."""
    kind = draw.one(list(_RULES))
    keeps = draw.chance(0.5)
    word = draw.one([values.surname(draw), f"the {draw.value(NOUNS)[0]}"])
    lines = []
    for _ in range(draw.between(1, 4)):
        noun, verb = draw.value(NOUNS)[0], draw.value(VERBS)[0]
        lines.append(f"We {verb} the {draw.value(ADJECTIVES)} {noun} for {_someone(draw)}.")
    place = draw.between(0, len(lines) - 1)
    if kind in ("word", "banned"):
        has = keeps if kind == "word" else not keeps
        lines = [line for line in lines if word not in line] or ["It is ready."]
        if has:
            lines.insert(min(place, len(lines)), f"{_cap(word)} is {draw.value(ADJECTIVES)}.")
    elif kind == "citation" and keeps:
        lines[place] += f" [{draw.between(1, 9)}]"
    elif kind == "question" and keeps:
        lines.append(f"Is the {draw.value(NOUNS)[0]} {draw.value(ADJECTIVES)}?")
    elif kind == "number" and keeps:
        lines[place] = (
            f"{lines[place][:-1]} {draw.one(['in', 'for', 'with'])} {values.integer(draw)}."
        )
    rule = draw.phrase(_RULES[kind]).format(w=word)
    if kind == "question" and not keeps and draw.chance(0.4):
        lines.insert(0, f"Is the {draw.value(NOUNS)[0]} {draw.value(ADJECTIVES)}?")
    reply = APPROVE if keeps else REVISE
    return Item("approve", [system(rule), user(" ".join(lines))], reply, check={"reply": reply})


def _someone(draw: Draw) -> str:
    return draw.one([values.surname(draw), values.place(draw), "the team", "everyone"])
