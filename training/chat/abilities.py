"""What the model is measured on: fresh examples of each ability, and what counts as right."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from data.draw import Draw
from data.items import REFUSAL, Item
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from data import calling_items as calls
from data import form_items as forms
from data import reading_items as reading

Verdict = dict[str, bool]  # row of the table: whether this example was right


@dataclass
class Asked:
    """One example with what the model said to it."""

    item: Item
    said: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=dict)


def messages_of(item: Item) -> list[BaseMessage]:
    """An example's messages, as LangChain has them."""
    made: list[BaseMessage] = []
    for message in item.messages:
        role, content = message["role"], message["content"]
        if role == "system":
            made.append(SystemMessage(content))
        elif role == "user":
            made.append(HumanMessage(content))
        elif role == "tool":
            made.append(ToolMessage(content, tool_call_id=f"call{len(made) - 1}"))
        else:
            made.append(_assistant(content, message.get("tool_calls", []), len(made)))
    return made


def _assistant(content: str, tool_calls: list[dict[str, Any]], place: int) -> AIMessage:
    shaped = [
        {"name": c["function"]["name"], "args": c["function"]["arguments"], "id": f"call{place}"}
        for c in tool_calls
    ]
    return AIMessage(content, tool_calls=shaped)


def _same(said: Any, right: Any) -> bool:
    """Numbers may be written as 3 or 3.0; all else must be equal, and of the same type."""
    if isinstance(right, bool) or isinstance(said, bool):
        return said is right
    if isinstance(right, int | float) and isinstance(said, int | float):
        return float(said) == float(right)
    return bool(said == right)


def same_arguments(said: dict[str, Any], right: dict[str, Any]) -> bool:
    return said.keys() == right.keys() and all(_same(said[key], right[key]) for key in right)


def _said(reply: AIMessage) -> str:
    if reply.tool_calls:
        return "; ".join(f"{call['name']} {call['args']}" for call in reply.tool_calls)
    return str(reply.text)


async def tool_choice(model: Any, item: Item) -> Asked:
    """Right tool; and all arguments exact, counted over all requests."""
    reply = await model.bind_tools(item.tools).ainvoke(messages_of(item))
    right = item.check["calls"][0]
    made = reply.tool_calls
    tool = len(made) == 1 and made[0]["name"] == right["name"]
    exact = tool and same_arguments(made[0]["args"], right["arguments"])
    half = "wordings of training" if item.kind == "known" else "new wordings"
    verdict = {"tool": tool, "arguments": exact, f"tool, {half}": tool, f"arguments, {half}": exact}
    return Asked(item, [_said(reply)], verdict)


async def no_tool(model: Any, item: Item) -> Asked:
    bound = model.bind_tools(item.tools) if item.tools else model
    reply = await bound.ainvoke(messages_of(item))
    return Asked(item, [_said(reply)], {"none": not reply.tool_calls})


async def result(model: Any, item: Item) -> Asked:
    """The value is said, and no other of the result's values."""
    reply = await model.bind_tools(item.tools).ainvoke(messages_of(item))
    text, right = str(reply.text), item.check["reply"]
    value = right.removeprefix("The result is ").rstrip(".")
    if item.check["wrong"]:
        value = right.split(" is ", 1)[1].rstrip(".")
    rest = text.replace(value, " ", 1)
    clean = not any(wrong in rest for wrong in item.check["wrong"] if len(wrong) > 2)
    good = not reply.tool_calls and value in text and clean and len(text) <= len(right) + 80
    return Asked(item, [text], {"result": good})


async def chain(model: Any, item: Item) -> Asked:
    """Both calls right, the second made with the result that the first one got."""
    bound, messages, said = model.bind_tools(item.tools), messages_of(item), []
    good = True
    for right, outcome in zip(item.check["calls"], item.check["results"], strict=True):
        reply = await bound.ainvoke(messages)
        said.append(_said(reply))
        made = reply.tool_calls
        good = len(made) == 1 and made[0]["name"] == right["name"]
        good = good and same_arguments(made[0]["args"], right["arguments"])
        if not good:
            break
        messages = [*messages, reply, ToolMessage(outcome, tool_call_id=made[0]["id"])]
    return Asked(item, said, {"chain": good})


def passages_of(item: Item) -> list[str]:
    """The numbered passages of a prompt."""
    body = str(item.messages[-1]["content"]).rpartition("\n\nQuestion: ")[0]
    return [line.partition("] ")[2] for line in body.split("\n")]


async def passages(model: Any, item: Item) -> Asked:
    """Freely, and held to whole sentences as ``nearfar ask`` holds it."""
    from nearfar.graphs.sentences import sentences
    from nearfar.llm.local.grammar import quote_grammar

    messages, right = messages_of(item), item.check["reply"]
    free = str((await model.ainvoke(messages)).text).strip()
    numbered = [(n, s.text) for n, p in enumerate(passages_of(item), 1) for s in sentences(p)]
    grammar = quote_grammar(numbered[:64], REFUSAL, max_quotes=1)
    held = str((await model.ainvoke(messages, grammar=grammar)).text).strip()
    kind = item.kind
    if right == REFUSAL:
        verdict = {
            f"{kind} unanswered": free == REFUSAL,
            f"{kind} unanswered, held": held == REFUSAL,
        }
    else:
        verdict = {
            kind: free == right,
            f"{kind}, sentence alone": free.rpartition(" [")[0] == right.rpartition(" [")[0],
            f"{kind}, held": held == right,
            f"{kind} false alarms": free == REFUSAL,
            f"{kind} false alarms, held": held == REFUSAL,
        }
    return Asked(item, [free, held], verdict)


async def extraction(model: Any, item: Item) -> Asked:
    from langchain_core.exceptions import OutputParserException

    structured = model.with_structured_output(item.check["schema"])
    try:
        said = await structured.ainvoke(messages_of(item))
    except OutputParserException as error:
        return Asked(item, [str(error)[:200]], {"extract": False})
    return Asked(item, [str(said)], {"extract": same_arguments(said, item.check["answer"])})


async def picked(model: Any, item: Item) -> Asked:
    """One of the numbered sentences, as the workflow ``summarize`` has one picked."""
    from nearfar.llm.local.grammar import quote_grammar

    grammar = quote_grammar(list(enumerate(passages_of(item), 1)), max_quotes=1)
    text = str((await model.ainvoke(messages_of(item), grammar=grammar)).text).strip()
    return Asked(item, [text], {"key, picked": text == item.reply})


async def exact(model: Any, item: Item) -> Asked:
    """The whole reply is as it should be."""
    text = str((await model.ainvoke(messages_of(item))).text).strip()
    return Asked(item, [text], {item.kind: text == item.reply})


async def sub_questions(model: Any, item: Item) -> Asked:
    """All questions and no other, in any order."""
    text = str((await model.ainvoke(messages_of(item))).text)
    said = sorted(line.strip() for line in text.splitlines() if line.strip())
    return Asked(item, [text], {"parts": said == sorted(item.check["questions"])})


Ask = Callable[[Any, Item], Awaitable[Asked]]


def _tools(seed: str, count: int) -> Iterator[Item]:
    new, known = Draw(seed, "eval"), Draw(seed, "eval", wording="train")
    for number in range(count):
        item = calls.one_call(known if number % 2 else new)
        item.kind = "known" if number % 2 else "new"
        yield item


def _made(make: Callable[[Draw], Item]) -> Callable[[str, int], Iterator[Item]]:
    def items(seed: str, count: int) -> Iterator[Item]:
        draw = Draw(seed, "eval")
        for _ in range(count):
            yield make(draw)

    return items


# What is made, how it is asked. Passages: a quarter has no answer, so there are more of them.
ABILITIES: dict[str, tuple[Callable[[str, int], Iterator[Item]], Ask, float]] = {
    "tools": (_tools, tool_choice, 1),
    "no tool": (_made(calls.no_call), no_tool, 1),
    "tool results": (_made(calls.answered_call), result, 1),
    "two calls": (_made(calls.chained_calls), chain, 1),
    "invented passages": (_made(lambda draw: reading.invented_facts(draw, 36)), passages, 1.4),
    "real passages": (_made(lambda draw: reading.real_passages(draw, 16)), passages, 1.4),
    "extraction": (_made(forms.extraction), extraction, 1),
    "key sentences": (_made(forms.key_sentence), exact, 1),
    "key sentences picked": (_made(forms.listed_key_sentence), picked, 1),
    "sub-questions": (_made(forms.sub_questions), sub_questions, 1),
    "approval": (_made(forms.approval), exact, 1),
}

# Rows of the table: what is counted, the bar of it (or the most, for false alarms).
ROWS: list[tuple[str, str, float | None]] = [
    ("tool", "right tool among 1 to 6, names and descriptions unseen", 0.95),
    ("tool, wordings of training", "- in wordings of the training data", None),
    ("tool, new wordings", "- in wordings never trained on", None),
    ("arguments", "all arguments exact, 1 to 4 of them", 0.90),
    ("arguments, wordings of training", "- in wordings of the training data", None),
    ("arguments, new wordings", "- in wordings never trained on", None),
    ("none", "no tool called when none fits", 0.95),
    ("result", "a tool result turned into the right short answer", 0.90),
    ("chain", "two calls in a row, the first result feeding the second", 0.80),
    ("facts", "invented passages (up to 8): right sentence and number, freely", 0.92),
    ("facts, sentence alone", "- right sentence, whatever the number", None),
    ("facts, held", "- held to whole sentences, as `nearfar ask` does", None),
    ("real", "real sentences, questions made by rule: sentence and number, freely", None),
    ("real, held", "- held to whole sentences, as `nearfar ask` does", None),
    ("facts unanswered", "says that the passages do not answer: recall, freely", 0.90),
    ("facts unanswered, held", "- held", None),
    ("facts false alarms", "says so although they do (false alarms), freely", -0.05),
    ("facts false alarms, held", "- held", None),
    ("real unanswered", "the same on real sentences: recall, freely", None),
    ("real false alarms", "- false alarms, freely", None),
    ("questions", "hand-written questions about real passages: right sentence, picked", 0.75),
    ("questions, docs", "- about Nearfar's documentation", None),
    ("questions, licence", "- about licences", None),
    ("questions, docstring", "- about docstrings", None),
    ("questions unanswered", "- those without an answer: refused", None),
    ("questions false alarms", "- those with an answer: refused", None),
    ("extract", "extraction by schema, all fields exact, absent ones null", 0.85),
    ("key", "key sentence of a text", 0.80),
    ("key, picked", "- picked from numbered sentences, as the workflow summarize does", None),
    ("parts", "two to four sub-questions of a request", 0.80),
    ("approve", "approve or revise by a stated rule", 0.90),
]
