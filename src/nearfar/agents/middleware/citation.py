"""Answers over documents cite, and every number that they cite exists.

Passages are numbered through the whole conversation, so that [3] means one passage however often the
model searched. A number that no passage has is taken out of the answer; an answer without any gets
one where a passage bears its words out, else the model is asked once more.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState, ModelRequest
from langchain.agents.middleware.types import ExtendedModelResponse, ModelResponse, OmitFromSchema
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.types import Command
from typing_extensions import TypedDict

from ._around import AroundModel, Steps, reply_of
from .limits import STOPPED

_SPACE_AND_MARK = re.compile(r"(?:[ \t]+|(?<![\w)]))\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")
_WORD = re.compile(r"\w{3,}")
_BORNE_OUT = 0.6  # share of the answer's words that a passage must hold to be its source
_NUDGE = (
    "Say it again, and put the number of the passage that each statement is from behind it, as [1]."
    " If the passages do not say it, say so."
)
_REFUSES = re.compile(
    r"\b(?:do|does|did)(?: not|n't) (?:say|answer|contain|mention|provide|state|include)\b"
    r"|\bnothing was found\b|\bcould(?: not|n't) find\b|\b(?:do not|don't) know\b",
    re.IGNORECASE,
)


class Source(TypedDict):
    """A passage that an answer cites."""

    n: int
    source: str  # the file's path
    page: int | None
    heading: str | None
    text: str


class CitationState(AgentState[Any]):
    """``citations`` are those of the latest answer."""

    citations: NotRequired[Annotated[list[Source], OmitFromSchema(input=True, output=False)]]


class CitationMiddleware(AroundModel):
    """``tools`` are those whose results are passages (an artifact with ``data``, as of `documents`).

    ``ask_again``: whether a model that cites nothing is asked once more.
    """

    state_schema = CitationState

    def __init__(self, tools: Sequence[str] = ("documents",), *, ask_again: bool = True) -> None:
        super().__init__()
        self._tools = frozenset(tools)
        self._ask_again = ask_again

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Number what the model sees, and check what it says."""
        messages, sources = self._numbered(request.messages)
        if not sources and not self._offered(request):
            response = yield request
            return ExtendedModelResponse(response, Command(update={"citations": []}))
        request = request.override(messages=messages)
        response = yield request
        reply = reply_of(response)
        if (
            reply is None
            or reply.tool_calls
            or _is_stop(reply)
            or not isinstance(reply.content, str)
        ):
            return ExtendedModelResponse(response, Command(update={"citations": []}))
        text, cited = check_numbers(reply.content, len(sources))
        must = self._searched(request.messages) and not cited and not _REFUSES.search(text)
        if must:
            text, cited = _attributed(text, sources)
        if must and not cited and self._ask_again:
            again = [*messages, reply, HumanMessage(_NUDGE)]
            second: ModelResponse[Any] = yield request.override(messages=again)
            said = reply_of(second)
            if said is not None and not said.tool_calls and not _is_stop(said):
                better, found = check_numbers(str(said.text), len(sources))
                if found:
                    response, reply, text, cited = second, said, better, found
        if text != reply.content:
            changed = reply.model_copy(update={"content": text})
            response = ModelResponse(
                [changed if m is reply else m for m in response.result],
                response.structured_response,
            )
        return ExtendedModelResponse(
            response, Command(update={"citations": [sources[n - 1] for n in cited]})
        )

    def _offered(self, request: ModelRequest[Any]) -> bool:
        """Whether the model can search documents: then a number claims that it did."""
        names = {getattr(tool, "name", None) for tool in request.tools}
        return bool(names & self._tools)

    def _searched(self, messages: Sequence[AnyMessage]) -> bool:
        """Whether the turn under way found passages."""
        for message in reversed(messages):
            if isinstance(message, HumanMessage):
                return False
            if self._passages(message):
                return True
        return False

    def _passages(self, message: AnyMessage) -> list[dict[str, Any]]:
        if not isinstance(message, ToolMessage) or message.name not in self._tools:
            return []
        artifact = message.artifact
        data = artifact.get("data") if isinstance(artifact, dict) else None
        return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []

    def _numbered(self, messages: Sequence[AnyMessage]) -> tuple[list[AnyMessage], list[Source]]:
        sources: list[Source] = []
        shown: list[AnyMessage] = []
        for message in messages:
            passages = self._passages(message)
            if passages and sources:
                text = _renumbered(str(message.content), passages, len(sources))
                shown.append(message.model_copy(update={"content": text}))
            else:
                shown.append(message)
            for passage in passages:
                sources.append(
                    Source(
                        n=len(sources) + 1,
                        source=str(passage.get("source", "")),
                        page=passage.get("page"),
                        heading=passage.get("heading"),
                        text=str(passage.get("text", "")),
                    )
                )
        return shown, sources


def check_numbers(text: str, known: int) -> tuple[str, list[int]]:
    """The text without numbers over ``known``, and the numbers that it cites, each once."""
    cited: dict[int, None] = {}

    def judge(match: re.Match[str]) -> str:
        numbers = [int(n) for n in re.split(r"\s*[,;]\s*", match[1])]
        good = [n for n in numbers if 1 <= n <= known]
        cited.update(dict.fromkeys(good))
        if len(good) == len(numbers):
            return match[0]
        space = match[0][: len(match[0]) - len(match[0].lstrip())]
        return f"{space}[{', '.join(map(str, good))}]" if good else ""

    return _SPACE_AND_MARK.sub(judge, text), list(cited)


def _attributed(text: str, sources: Sequence[Source]) -> tuple[str, list[int]]:
    """The number of the passage that holds most of the answer's words, if it holds enough."""
    words = set(_WORD.findall(text.casefold())) | set(re.findall(r"\d+", text))
    if not words:
        return text, []
    shares = [
        (len(words & set(re.findall(r"\w+", one["text"].casefold()))) / len(words), -one["n"])
        for one in sources
    ]
    share, n = max(shares)
    if share < _BORNE_OUT:
        return text, []
    return f"{text.rstrip()} [{-n}]", [-n]


def _renumbered(text: str, passages: Sequence[dict[str, Any]], before: int) -> str:
    """`[1] file.md` becomes `[6] file.md` where five passages were found earlier."""
    place = 0
    for n, passage in enumerate(passages, start=1):
        old = f"[{n}] {passage.get('source', '')}"
        found = text.find(old, place)
        if found < 0:
            break  # the rest was cut off
        new = f"[{n + before}]"
        text = text[:found] + new + text[found + len(f"[{n}]") :]
        place = found + len(new)
    return text


def _is_stop(reply: AIMessage) -> bool:
    return reply.response_metadata.get("finish_reason") == STOPPED
