"""Examples about tools: one call, several, none, results turned into answers, calls in a row."""

import json
from typing import Any

from . import values
from .draw import Draw, Pool
from .items import Item, calling, saying, system, tool_result, user
from .labels import LABELS
from .ordinary import ORDINARY, OWN
from .requests import by_name, clause, polished, request
from .toolkit import Argument, Tool, invented_tool, nonsense_tool
from .vocabulary import ADJECTIVES, NOUNS, SUBJECTS

GREETING = "Hello! What can I do for you?"
ABOUT = "I am Nearfar's built-in model. I read what I am given, find answers in it and call tools."
THANKS = "You are welcome."
UNABLE = "None of my tools can do that."
UNKNOWN = "I do not know. I only read what I am given."
DONE = "Done."

_GREETINGS = Pool([
    "Hello", "Hi", "Hello!", "hi there", "Good morning", "Good evening!", "hey", "Hey there!",
    "hello, how are you?", "how are you", "How are you today?", "Nice to meet you.", "Greetings!",
    "What's up?", "howdy", "Good day to you", "Good afternoon", "Hi, is anyone there?", "hello hello",
    "How do you do?", "yo", "Morning!", "Hiya", "Hello again", "Hi! How is it going?", "Welcome back!",
    "Are you there?", "Pleased to meet you", "Hi, I'm {p}.", "Hello, my name is {p}", "hi from {c}",
    "{p} here, hello!", "Good evening, this is {p}.", "Hey, {p} speaking.", "Servus", "Moin", "Bonjour!",
], more=[
    "good day", "Hello there", "Hi you", "Hi {p}", "Hello {p}!",
    "Good night", "evening!", "hello world", "Hey {p}, how are things?", "How are things?",
    "How goes it?", "Nice to see you", "Nice to talk to you", "Long time no see", "Welcome!",
    "Is anybody listening?", "Can you hear me?", "Ahoy", "Hallo", "Hola",
    "Ciao", "Good to see you, {p}", "How was your day?", "How have you been?", "What is new?",
    "Happy to be here", "Let us begin", "Shall we start?", "I am {p}", "My name is {p}.",
    "It is {p} again", "Sorry, I am late. Hello!", "hello?", "hey you", "Merry Christmas",
    "Happy birthday", "Nice day, isn't it?", "Glad to meet you, {p}", "Delighted to meet you", "Hi, nice to meet you",
    "So we meet", "Good to know you",
])  # fmt: skip
_ABOUT = Pool([
    "Who are you?", "What are you?", "What can you do?", "Tell me about yourself.", "Are you a robot?",
    "What is your name?", "Which model are you?", "How do you work?", "Are you a person?", "What's your job?",
    "What do you know about yourself?", "Introduce yourself.", "Who made you?", "Can you think?",
    "what are you good at?", "Do you have a name?", "Are you human?", "How can you help me?", "Are you an AI?",
    "What sort of program are you?", "Explain what you are.", "What are your abilities?", "who am I talking to?",
    "How old are you?", "Where do you live?", "Do you sleep?", "Do you like music?", "Are you real?",
    "What is your purpose?", "Describe yourself in a sentence.", "Do you have feelings?", "Which tasks can you do?",
], more=[
    "What kind of thing are you?", "Can you help?", "What do you do?", "What should I call you?", "Are you a computer?",
    "Are you a language model?", "Who built you?", "Who trained you?", "What were you made for?", "How smart are you?",
    "What languages do you speak?", "Do you know me?", "Do you remember me?", "Can you learn?", "Can you see?",
    "Can you speak?", "Do you dream?", "Do you have friends?", "Are you alive?", "Where are you from?",
    "How big are you?", "How fast are you?", "How were you trained?", "Are you better than others?", "May I ask who you are?",
    "And you, what are you?", "Tell me who you are", "Say something about yourself", "What can I ask you?", "What are your limits?",
    "What can't you do?", "Do you run on my machine?", "Are you local?", "Do you send my data anywhere?", "Do you get tired?",
    "Do you like {n}s?", "Have you got a family?", "What is your favourite {n}?", "Are you happy?", "Are you in {c}?",
])  # fmt: skip
_THANKS = Pool([
    "Thanks!", "Thank you", "Thank you very much.", "thanks a lot", "Great, thanks", "Perfect, thank you!",
    "Many thanks.", "That helped, thanks.", "Cheers", "Good job!", "Well done.", "That is all, thank you.",
    "thx", "Thanks, {p} out.", "Much appreciated", "Wonderful, thanks!", "You are great", "Bye!", "Goodbye",
], more=[
    "Thank you so much", "thank you, {p}", "Thanks, that was quick", "Great work", "Nice",
    "Cool", "Very good", "Excellent!", "OK, thanks", "Fine, thank you",
    "Thanks for the {n}", "That is what I needed", "Perfect", "I am grateful", "That was kind",
    "You helped me a lot", "See you", "See you later", "Good bye, {p}", "Until tomorrow",
    "Have a nice day", "So long", "Take care", "Lovely, thanks", "Brilliant",
    "I appreciate it", "All good, thanks", "Thanks anyway", "Nothing else, thanks", "We are done, thank you",
])  # fmt: skip
_WORLD = Pool([
    "Who invented the {n}?", "What is the capital of {c}?", "Why is the {n} {a}?", "When was {p} born?",
    "How does a {n} work?", "Tell me a joke about {n}s.", "Write a poem about {c}.", "What is a {n}?",
    "What is the meaning of life?", "Who won the {n} {y}?", "Do you believe in {n}s?", "Why do {n}s exist?",
    "Which {n} is the best?", "What should I eat in {c}?", "Is {c} larger than {d}?", "What is {n} in simple words?",
    "Who is the president of {c}?", "What do you think of {p}?", "How many {n}s are there in {c}?", "Sing a song.",
    "What was the {a} {n}?", "Give me an idea for a {n}.", "Why does {s} need a {n}?", "Are {n}s {a}?",
    "How long does a {n} last?", "Was {p} famous?", "Where do {n}s come from?", "What happened in {y}?",
], more=[
    "Who wrote the {n}?", "Who discovered {c}?", "How old is {p}?", "How far away is the {n}?", "Who was {p}?",
    "Is a {n} a {a} thing?", "What does {p} think about {n}s?", "How many {n}s does {p} have?", "Why did {s} leave {c}?", "When did the {n} begin?",
    "Recommend a {n}.", "Tell me a story about a {a} {n}.", "What is the difference between a {n} and {c}?", "Explain the {a} {n} to a child.", "What colour is a {n}?",
    "What is the best way to {c}?", "Can a {n} be {a}?", "Will there be {n}s in {y}?", "How do I become a {n}?", "What would {p} say?",
    "Should I trust {s}?", "Who owns {c}?", "What rhymes with {n}?", "Name three {n}s.", "Which language do they speak in {c}?",
    "Is it true that {n}s are {a}?", "What do you know about {c}?", "Give me advice about my {n}.", "I feel {a} today.", "I am bored.",
    "My {n} is {a}.", "It is a {a} day in {c}.",
])  # fmt: skip
_SYSTEMS = Pool([
    "You are a helpful assistant.", "You are an assistant.", "Be brief.", "You help the user.",
    "Answer politely.", "Use the tools where they help.", "You are a careful assistant that uses tools.",
    "Call a tool if one fits.", "You work for {c} Ltd.", "You are {p}'s assistant.", "Help with daily work.",
    "You are an agent. Use tools to finish the task.", "Be exact and short.", "Today is {d}.",
], loose=True)  # fmt: skip


def _filled(draw: Draw, form: str) -> str:
    return form.format(
        p=values.person(draw), c=values.place(draw), d=values.place(draw), n=draw.value(NOUNS)[0],
        a=draw.value(ADJECTIVES), s=draw.value(SUBJECTS), y=draw.between(1700, 2030),
    )  # fmt: skip


def maybe_system(draw: Draw) -> list[dict[str, Any]]:
    if not draw.chance(0.2):
        return []
    return [system(_filled(draw, draw.phrase(_SYSTEMS)))]


class Scene:
    """A tool, what it is asked, and the values that the call must hold."""

    def __init__(self, draw: Draw, others: list[Tool], least: int = 0) -> None:
        kind = draw.weighted({"invented": 6, "ordinary": 2.5, "nonsense": 0.8})
        if kind == "ordinary":
            row = draw.value(ORDINARY)
            self.tool, self.given = row.tool(draw), row.values(draw)
            self.text = polished(draw, row.request(draw, self.given))
            if draw.chance(0.05):
                self.text = by_name(draw, self.tool, self.given)
        else:
            tool = invented_tool(draw, others, least) if kind == "invented" else nonsense_tool(draw)
            self.given = {a.label: a.make(draw) for a in tool.arguments}
            self.tool = _with_optional(draw, tool, self.given) if kind == "invented" else tool
            self.text = request(draw, self.tool, self.given)

    @property
    def call(self) -> dict[str, Any]:
        return {"name": self.tool.name, "arguments": self.given}


def _with_optional(draw: Draw, tool: Tool, given: dict[str, Any]) -> Tool:
    """Now and then one more argument that may be left out, and is."""
    if not draw.chance(0.12) or not tool.arguments:
        return tool
    extra = nonsense_tool(draw).arguments
    if not extra or extra[0].label in given or extra[0].kind != "int":
        return tool
    more = Argument(extra[0].label, extra[0].kind, required=False)
    return Tool(tool.name, tool.description, (*tool.arguments, more), tool.act)


def with_others(draw: Draw, tool: Tool, most: int = 6) -> list[Tool]:
    """The tool among up to ``most - 1`` others, none of which does the same."""
    tools = [tool]
    wanted = draw.between(1, most)
    while len(tools) < wanted:
        other = draw.value(ORDINARY).tool(draw) if draw.chance(0.25) else invented_tool(draw, tools)
        # Two ordinary tools may do nearly the same; two names must not be equal.
        similar = other.act == ((), ()) and any(t.act == ((), ()) for t in tools)
        if not similar and all(other.name != t.name for t in tools):
            tools.append(other)
    return draw.shuffled(tools)


def _definitions(tools: list[Tool]) -> list[dict[str, Any]]:
    return [tool.definition() for tool in tools]


def one_call(draw: Draw) -> Item:
    scene = Scene(draw, [])
    tools = with_others(draw, scene.tool)
    messages = [*maybe_system(draw)]
    if draw.chance(0.06):
        messages += [user(_filled(draw, draw.phrase(_GREETINGS))), saying(GREETING)]
    messages.append(user(scene.text))
    return Item("call", messages, [scene.call], _definitions(tools), {"calls": [scene.call]})


def own_call(draw: Draw) -> Item:
    """One of Nearfar's own tools, alone or with others; only for training."""
    row = draw.one(OWN)
    tool, given = row.tool(draw), row.values(draw)
    call = {"name": tool.name, "arguments": given}
    messages = [*maybe_system(draw), user(row.request(draw, given))]
    tools = with_others(draw, tool, draw.one([1, 1, 5]))
    return Item("call", messages, [call], _definitions(tools), {"calls": [call]})


def parallel_calls(draw: Draw) -> Item:
    """The same tool for two or three values, in one message."""
    while True:
        row = draw.value(ORDINARY)
        if len(row.arguments) == 1:
            break
    tool, label = row.tool(draw), row.arguments[0][0]
    given = [row.values(draw) for _ in range(draw.weighted({2: 3, 3: 1}))]
    said = [str(each[label]) for each in given]
    first = row.request(draw, {label: "\0"})
    listed = ", ".join(said[:-1]) + draw.one([" and ", " and in ", " and then "]) + said[-1]
    if draw.chance(0.3):
        text = " ".join(row.request(draw, each) for each in given)
    else:
        text = first.replace("\0", listed.replace(" and in ", " and "))
    calls = [{"name": tool.name, "arguments": each} for each in given]
    tools = with_others(draw, tool, 4)
    return Item(
        "parallel", [*maybe_system(draw), user(text)], calls, _definitions(tools), {"calls": calls}
    )


def no_call(draw: Draw) -> Item:
    """Talk, with or without tools, and requests for which no tool is there."""
    kind = draw.weighted({"greeting": 3, "about": 3, "thanks": 1, "unable": 3, "world": 2})
    tools: list[Tool] = []
    if kind == "unable":
        scene = Scene(draw, [])
        tools = [t for t in with_others(draw, scene.tool) if t.name != scene.tool.name]
        if not tools:
            tools = [invented_tool(draw, [scene.tool])]
        if scene.tool.act[0]:  # an ordinary tool might do after all
            tools = [t for t in tools if t.act[0]] or [invented_tool(draw, [scene.tool])]
        text, reply = scene.text, UNABLE
    else:
        forms = {"greeting": _GREETINGS, "about": _ABOUT, "thanks": _THANKS, "world": _WORLD}
        text = _filled(draw, draw.phrase(forms[kind]))
        said = {"greeting": GREETING, "about": ABOUT, "thanks": THANKS, "world": UNKNOWN}
        reply = said[kind]
        if draw.chance(0.75):
            tools = with_others(draw, invented_tool(draw, []), 6)
    messages = [*maybe_system(draw), user(text)]
    return Item("none", messages, reply, _definitions(tools), {"reply": reply, "kind": kind})


_RESULT = Pool([
    "The {l} is {v}.", "It is {v}.", "The result is {v}.",
])  # fmt: skip


def _result(draw: Draw, kind: str) -> tuple[str, str, list[str]]:
    """A tool's result, the right answer, and values that must not be in it."""
    shape = draw.weighted({"plain": 3, "json": 4, "sentence": 2, "error": 1})
    argument = Argument(
        "value", draw.one(["int", "number", "text", "date", "place", "person", "code"])
    )
    value = str(argument.make(draw))
    if shape == "plain":
        return value, f"The result is {value}.", []
    if shape == "sentence":
        line = values.text(draw).rstrip(".!") + "."
        return line, line, []
    if shape == "error":
        why = draw.one([f"{draw.value(NOUNS)[0]} not found", "permission denied", "timed out",
                        f"no {draw.value(NOUNS)[0]} called {value}", "connection refused"])  # fmt: skip
        return f"Error: {why}", f"The tool {kind} failed: {why}.", []
    return "", value, []


def _record(draw: Draw) -> dict[str, Any]:
    """A JSON object with two to five fields."""
    record: dict[str, Any] = {}
    wanted = draw.between(2, 5)
    while len(record) < wanted:
        kind = draw.one(
            ["int", "number", "text", "date", "place", "person", "code", "clock", "url"]
        )
        label = draw.value(LABELS[kind])
        made = Argument(label, kind).make(draw)
        if label not in record and str(made) not in [str(v) for v in record.values()]:
            record[label] = made
    return record


_ASKS = Pool([
    "what is the {l}?", "tell me the {l}.", "I only need the {l}.", "give me its {l}.", "which {l} does it have?",
    "and say what the {l} is.", "what {l} is given?", "I want to know the {l}.", "the {l}, please.",
    "what about the {l}?", "let me know the {l}.", "return only the {l}.", "how is the {l} there?",
], loose=True)  # fmt: skip


def answered_call(draw: Draw) -> Item:
    """A call and its result; what is learned is the answer."""
    scene = Scene(draw, [])
    result, answer, wrong = _result(draw, scene.tool.name)
    text = scene.text
    if not result:
        record = _record(draw)
        label = draw.one(list(record))
        said = label.replace("_", " ")
        text = f"{text} {draw.phrase(_ASKS).format(l=said)}"
        if draw.chance(0.6):
            text = (
                text[: len(scene.text) + 1]
                + text[len(scene.text) + 1].upper()
                + text[len(scene.text) + 2 :]
            )
        result = json.dumps(record, ensure_ascii=False)
        answer = f"The {said} is {record[label]}."
        wrong = [str(v) for k, v in record.items() if k != label]
    messages = [*maybe_system(draw), user(text), calling([scene.call]), tool_result(result)]
    tools = with_others(draw, scene.tool, 3)
    return Item("result", messages, answer, _definitions(tools), {"reply": answer, "wrong": wrong})


_THEN = Pool([
    "{a} Then {b}", "First {a} After that {b}", "{a} And with the result {b}", "{a} When you have it, {b}",
    "{a} Once that is done, {b}", "{a} Next, {b}", "{a} Afterwards {b}", "{a} With what you get, {b}",
    "Do two things: {a} Then {b}", "{a} Use the answer to {b}", "{a} Having that, {b}",
], loose=True)  # fmt: skip
_IT = Pool(
    ["the result", "it", "what you found", "that value", "the answer", "what comes out", "this"]
)


def chained_calls(draw: Draw) -> Item:
    """Two calls, the first result being a value of the second, and a last short answer."""
    first = Scene(draw, [], 1)
    while True:
        tool = invented_tool(draw, [first.tool], 1)
        fits = [a for a in tool.arguments if a.kind not in ("bool", "choice", "language")]
        if fits and tool.name != first.tool.name:
            break
    fed = draw.one(fits)
    value = fed.make(draw)
    given = {a.label: value if a is fed else a.make(draw) for a in tool.arguments}
    said = {**given, fed.label: draw.phrase(_IT)}
    verb, noun = (words[0] for words in tool.act)
    parts = [clause(draw, a, said[a.label], a is fed or len(given) > 1) for a in tool.arguments]
    second = f"{verb} the {noun} {', '.join(parts)}.".replace(
        '"' + said[fed.label] + '"', said[fed.label]
    )
    before = first.text.rstrip()
    before += "" if before[-1] in ".!?" else "."
    text = draw.phrase(_THEN).format(a=before, b=second)
    calls = [first.call, {"name": tool.name, "arguments": given}]
    result = str(value) if draw.chance(0.6) else json.dumps({fed.label: value}, ensure_ascii=False)
    outcome = draw.one(["ok", "done", "OK", '{"ok": true}', '{"status": "ok"}', "success"])
    messages: list[dict[str, Any]] = [*maybe_system(draw), user(text)]
    check = {"calls": calls, "results": [result, outcome]}
    tools = [first.tool, tool]
    if draw.chance(0.5):
        tools = draw.shuffled([*tools, *[
            t for t in with_others(draw, first.tool, 3)
            if t.name not in (first.tool.name, tool.name) and (t.act != tool.act)
        ]])  # fmt: skip
    stage = draw.weighted({0: 1, 1: 2, 2: 0.6}) if draw.side == "train" else 0
    reply: Any = [calls[0]]
    if stage >= 1:
        messages += [calling([calls[0]]), tool_result(result)]
        reply = [calls[1]]
    if stage == 2:
        messages += [calling([calls[1]]), tool_result(outcome)]
        reply = DONE
    return Item("chain", messages, reply, _definitions(tools), check)
