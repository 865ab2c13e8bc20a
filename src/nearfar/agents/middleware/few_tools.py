"""Helps models too small for many tools and long talks: they see the tool nearest to the question.

Small are those that say so (nearfar.json: ``"answers": "quote"``). Others are left alone.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents.middleware import ModelRequest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from nearfar.settings import Settings, resolve

from ._around import AroundModel, Steps

_NEAR = 0.12  # cosine of question and description; below it no tool is meant by its words
_KEPT = 256


def is_small(model: BaseChatModel) -> bool:
    """Whether the model says that it only finds sentences and calls simple tools."""
    return getattr(getattr(model, "info", None), "answers", None) == "quote"


class FewToolsMiddleware(AroundModel):
    """``k`` tools are shown, each with the first sentence of its description.

    A question that is near to none gets the tool ``otherwise``, if it is there. A model that must
    call a certain tool, or has no more than ``k``, sees them as they are. Of the conversation it
    sees the last ``turns``: earlier ones only lead it astray.
    """

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        k: int = 1,
        turns: int = 1,
        otherwise: str = "documents",
        embeddings: Embeddings | None = None,
    ) -> None:
        super().__init__()
        self._settings = resolve(settings)
        self._k = k
        self._turns = turns
        self._otherwise = otherwise
        self._embeddings = embeddings
        self._chosen: OrderedDict[tuple[str, ...], list[str]] = OrderedDict()

    def around_model(self, request: ModelRequest[Any]) -> Steps:
        """Choose by the latest message of the user."""
        offered = [tool for tool in request.tools if isinstance(tool, BaseTool)]
        asked = next((m for m in reversed(request.messages) if isinstance(m, HumanMessage)), None)
        if not is_small(request.model) or asked is None:
            return (yield request)
        request = request.override(messages=_latest(request.messages, self._turns))
        if request.tool_choice or not offered:
            return (yield request)
        names = self._choose(str(asked.text), offered)
        shown = [_shortened(tool) for tool in offered if tool.name in names]
        others = [tool for tool in request.tools if not isinstance(tool, BaseTool)]
        return (yield request.override(tools=[*shown, *others]))

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

    def _model(self) -> Embeddings:
        if self._embeddings is None:
            from nearfar.llm import embeddings

            self._embeddings = embeddings(settings=self._settings)
        return self._embeddings


def _latest(messages: list[AnyMessage], turns: int) -> list[AnyMessage]:
    starts = [place for place, m in enumerate(messages) if isinstance(m, HumanMessage)]
    return messages[starts[-turns:][0] :] if starts else messages


def _first_sentence(tool: BaseTool) -> str:
    return tool.description.split("\n", 1)[0].split(". ", 1)[0]


def _shortened(tool: BaseTool) -> dict[str, Any]:
    wire = convert_to_openai_tool(tool)
    return {**wire, "function": {**wire["function"], "description": _first_sentence(tool)}}
