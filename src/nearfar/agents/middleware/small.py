"""Helps models too small for many tools and long talks.

Small are those that say so (nearfar.json: ``"answers": "quote"``). Others are left alone.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain.agents.middleware.types import ModelResponse
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from nearfar.llm import supports_grammar
from nearfar.retrieval.sentences import REFUSAL, sentences
from nearfar.settings import Settings, resolve

from ._around import AroundModel, Steps

_NEAR = 0.12  # cosine of question and description; below it no tool is meant by its words
_KEPT = 256
_OFFERED = 3  # sentences that a small model chooses from, the nearest to the question
_TOLD = 300  # characters of an error
_SURE = 0.5  # cosine of question and sentence; from here on one of them answers
_DOCUMENTS = "documents"
_READ = "Answer from the passages and cite them."
_CALCULATOR = "calculator"
_OPERAND = r"\(* ?-?\d+(?:[.,]\d+)*%? ?\)*"
_SIGN = r" ?(?:\*\*|//|[-+*/^\u00d7\u00f7\u2212]) ?"
_SUM = re.compile(rf"(?<![\w.]){_OPERAND}(?:{_SIGN}{_OPERAND})+(?!\w)")
_NUMBER = re.compile(r"\s*\[\d{1,4}\]")


def is_small(model: BaseChatModel) -> bool:
    """Whether the model says that it only finds sentences and calls simple tools."""
    return getattr(getattr(model, "info", None), "answers", None) == "quote"


class SmallModelMiddleware(AroundModel):
    """``k`` tools are shown: those nearest to the question, each with the first sentence of its
    description. A question that is near to none gets the tool ``otherwise``, if it is there.

    Of the conversation the model sees the last ``turns``: earlier ones only lead it astray.
    Documents are looked through for the user's own words, and passages that were found (or
    ``passages``, where there are no tools) are put to the model in the form that such models are
    made for; it answers with one of their sentences, or says that none does.
    """

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        k: int = 1,
        turns: int = 1,
        otherwise: str = "documents",
        passages: Sequence[str] = (),
        embeddings: Embeddings | None = None,
    ) -> None:
        super().__init__()
        self._settings = resolve(settings)
        self._k = k
        self._turns = turns
        self._otherwise = otherwise
        self._passages = passages
        self._embeddings = embeddings
        self._chosen: OrderedDict[tuple[str, ...], list[str]] = OrderedDict()

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Choose by the latest message of the user."""
        offered = [tool for tool in request.tools if isinstance(tool, BaseTool)]
        asked = next((m for m in reversed(request.messages) if isinstance(m, HumanMessage)), None)
        if not is_small(request.model) or asked is None:
            return (yield request)
        question = str(asked.text)
        last = request.messages[-1]
        if isinstance(last, ToolMessage) and last.status == "error":
            return (yield _telling(request, last))
        passages = _found(last) or ([] if offered else self._passages)
        if passages:
            return _unnumbered((yield self._reading(request, passages, question)))
        request = request.override(messages=_latest(request.messages, self._turns))
        if request.tool_choice or not offered:
            return (yield request)
        names = self._choose(question, offered)
        shown = [_shortened(tool) for tool in offered if tool.name in names]
        others = [tool for tool in request.tools if not isinstance(tool, BaseTool)]
        response = yield request.override(tools=[*shown, *others])
        return _asking(response, question)

    def _choose(self, question: str, tools: Sequence[BaseTool]) -> list[str]:
        if len(tools) <= self._k:
            return [tool.name for tool in tools]
        key = (question, *(tool.name for tool in tools))
        if key not in self._chosen:
            self._chosen[key] = self._nearest(question, tools)
            if len(self._chosen) > _KEPT:
                self._chosen.popitem(last=False)
        return self._chosen[key]

    def _nearest(self, question: str, tools: Sequence[BaseTool]) -> list[str]:
        import numpy as np

        texts = [f"{tool.name.replace('_', ' ')}: {_first_sentence(tool)}" for tool in tools]
        vectors = np.asarray(self._model().embed_documents([question, *texts]))
        scores = vectors[1:] @ vectors[0]
        best = [int(place) for place in np.argsort(-scores)[: self._k]]
        known = [tool.name for tool in tools]
        if scores[best[0]] < _NEAR and "?" in question and self._otherwise in known:
            return [self._otherwise]
        return [known[place] for place in best]

    def _reading(
        self, request: ModelRequest[Any], passages: Sequence[str], question: str
    ) -> ModelRequest[Any]:
        """Passages and question in one message, no tools, and only their sentences as an answer."""
        listed = "\n".join(f"[{n}] {' '.join(text.split())}" for n, text in enumerate(passages, 1))
        options = dict(request.model_settings)
        if supports_grammar(request.model):
            options["grammar"] = self._quotes(passages, question)
        return request.override(
            system_message=SystemMessage(_READ),
            messages=[HumanMessage(f"{listed}\n\nQuestion: {question}")],
            tools=[],
            model_settings=options,
        )

    def _quotes(self, passages: Sequence[str], question: str) -> str:
        import numpy as np

        from nearfar.llm.local.grammar import quote_grammar

        found = [
            (n, one.text)
            for n, text in enumerate(passages, 1)
            for one in sentences(text)
            if not (one.heading or one.code)
        ]
        if not found:
            return quote_grammar([], REFUSAL)
        texts = [question, *(text for _, text in found)]
        vectors = np.asarray(self._model().embed_documents(texts))
        scores = vectors[1:] @ vectors[0]
        best = np.argsort(-scores)[:_OFFERED]
        offered = [found[place] for place in sorted(best)]
        sure = scores[best[0]] >= _SURE
        return quote_grammar(offered, None if sure else REFUSAL, max_quotes=1)

    def _model(self) -> Embeddings:
        if self._embeddings is None:
            from nearfar.llm import embeddings

            self._embeddings = embeddings(settings=self._settings)
        return self._embeddings


def _latest(messages: list[AnyMessage], turns: int) -> list[AnyMessage]:
    starts = [place for place, m in enumerate(messages) if isinstance(m, HumanMessage)]
    return messages[starts[-turns:][0] :] if starts else messages


def _found(message: AnyMessage) -> list[str]:
    """The passages that a call of `documents` gave."""
    artifact = message.artifact if isinstance(message, ToolMessage) else None
    if not isinstance(artifact, dict) or artifact.get("tool") != _DOCUMENTS:
        return []
    return [str(one["text"]) for one in artifact.get("data") or []]


def _telling(request: ModelRequest[Any], failed: ToolMessage) -> ModelRequest[Any]:
    """What went wrong is told as it is: such models make nonsense of it."""
    if not supports_grammar(request.model):
        return request
    from nearfar.llm.local.grammar import choice_grammar

    words = " ".join(failed.text.split())[:_TOLD] or "The tool failed."
    options = {**request.model_settings, "grammar": choice_grammar([words])}
    return request.override(tools=[], model_settings=options)


def _unnumbered(response: ModelResponse[Any]) -> ModelResponse[Any]:
    """Such models copy sentences well and number them badly: CitationMiddleware finds the source."""
    result = [
        m.model_copy(update={"content": _NUMBER.sub("", m.content)})
        if isinstance(m, AIMessage) and isinstance(m.content, str)
        else m
        for m in response.result
    ]
    return ModelResponse(result, response.structured_response)


def _asking(response: ModelResponse[Any], question: str) -> ModelResponse[Any]:
    """Calls of `documents` ask what the user asked, and `calculator` calculates what they wrote."""
    own: dict[str, dict[str, Any]] = {_DOCUMENTS: {"question": question}}
    if (written := _arithmetic(question)) is not None:
        own[_CALCULATOR] = {"expression": written}
    result: list[BaseMessage] = []
    for message in response.result:
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        if any(call["name"] in own for call in calls):
            changed = [
                {**call, "args": {**call["args"], **own.get(call["name"], {})}} for call in calls
            ]
            message = message.model_copy(update={"tool_calls": changed})  # noqa: PLW2901
        result.append(message)
    return ModelResponse(result, response.structured_response)


def _arithmetic(question: str) -> str | None:
    """The one expression of numbers and signs that stands in the question; small models miscopy it."""
    found = [one.group().strip() for one in _SUM.finditer(question)]
    return found[0] if len(found) == 1 else None


def _first_sentence(tool: BaseTool) -> str:
    return tool.description.split("\n", 1)[0].split(". ", 1)[0]


def _shortened(tool: BaseTool) -> dict[str, Any]:
    wire = convert_to_openai_tool(tool)
    return {**wire, "function": {**wire["function"], "description": _first_sentence(tool)}}
