"""``summarize``: files and folders in a few sentences, each with its source.

    collect -> one (for each document) -> next -> ... -> reduce

Each document is summed up near; ``model`` (a router, say) puts those summaries together. A small
extractive model chooses the sentences that say most, and can say nothing else.
"""

import operator
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, Required

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.errors import DocumentError, UnreadableDocumentError, UsageError
from nearfar.settings import Settings, resolve

from . import ask_prompts as prompts
from .answers import Citation
from .ask_prompts import Ability
from .citations import check
from .documents import files_of, read, reason, sentences_of
from .evidence import Candidate, Found
from .registry import Graph
from .sentences import content_words
from .steps import Reply, Update, Work, both_ways

AT_ONCE = 4  # documents that are worked on at the same time
_SHORTLIST = 12
_WEIGHED = 500  # sentences that are compared by their meaning; of more, the commonest
_OF_ONE = 3  # sentences of one document, at least
_MARK = re.compile(r"\[(\d+)\]$")
_MARKS = re.compile(r"\s*\[\d+\]")
_QUESTION = "What is the text about, and what matters most?"

Steps = Generator[Reply | Work, Any, Update]


class SummarizeInput(TypedDict, total=False):
    """What to sum up."""

    docs: Required[Annotated[list[str], Field(description="Files and folders.")]]
    sentences: Annotated[int, Field(ge=1, le=20, description="How long (5).")]
    model: Annotated[str | None, Field(description="The model or router for the last step.")]


class Part(TypedDict):
    """One document: its key sentences, or why it could not be read."""

    source: str
    summary: str
    key: list[Found]
    error: str | None


class SummarizeOutput(TypedDict):
    """The summary and what it stands on."""

    summary: str
    citations: list[Citation]
    documents: list[dict[str, Any]]  # source, summary and error of each


class SummarizeState(SummarizeOutput):
    """Between the steps; plain JSON."""

    docs: list[str]
    sentences: int
    model: str | None
    files: list[str]
    parts: Annotated[list[Part], operator.add]


class _One(TypedDict):
    file: str
    most: int  # sentences to keep of it


def build_summarize(
    model: BaseChatModel | str | None = None, settings: Settings | str | Path | None = None
) -> Graph:
    """The graph, with any chat model (or the name of one) for the single documents."""
    work = _Summarize(model, resolve(settings))
    graph = StateGraph(SummarizeState, input_schema=SummarizeInput, output_schema=SummarizeOutput)
    graph.add_node("collect", both_ways("collect", work.collect))
    graph.add_node("one", both_ways("one", work.one), input_schema=_One)
    graph.add_node("next", lambda _: {})
    graph.add_node("reduce", both_ways("reduce", work.reduce))
    graph.add_edge(START, "collect")
    graph.add_conditional_edges("collect", _batch, ["one", "reduce"])
    graph.add_edge("one", "next")
    graph.add_conditional_edges("next", _batch, ["one", "reduce"])
    graph.add_edge("reduce", END)
    return graph.compile(name="summarize").with_config({"recursion_limit": 1_000_000})


def _batch(state: SummarizeState) -> Any:
    done = {part["source"] for part in state["parts"]}
    left = [file for file in state["files"] if file not in done][:AT_ONCE]
    most = max(_OF_ONE, -(-state["sentences"] // len(state["files"])))
    return [Send("one", _One(file=file, most=most)) for file in left] or "reduce"


class _Summarize:
    def __init__(self, model: BaseChatModel | str | None, settings: Settings) -> None:
        self._chosen = model
        self._settings = settings
        self._embeddings: Embeddings | None = None

    def _model(self, name: str | None) -> BaseChatModel:
        if name is None and isinstance(self._chosen, BaseChatModel):
            return self._chosen
        from nearfar.llm import chat_model

        chosen = name or (self._chosen if isinstance(self._chosen, str) else None)
        return chat_model(chosen, settings=self._settings)

    def collect(self, state: SummarizeState) -> Steps:
        """The documents."""
        if not 1 <= state.get("sentences", 5) <= 20:
            raise UsageError("A summary has 1 to 20 sentences.")
        files = yield Work(lambda: files_of(state["docs"], self._settings))
        return {"files": files, "sentences": state.get("sentences", 5), "parts": []}

    def one(self, state: _One) -> Steps:
        """The sentences of a document that say most."""
        file, most = state["file"], state["most"]
        part = Part(source=file, summary="", key=[], error=None)
        try:
            found = yield Work(lambda: sentences_of(read(file, self._settings)))
        except DocumentError as error:
            part["error"] = reason(error)
        else:
            key = yield Work(lambda: self._central(found))
            # Several documents at once would get between each other's words in a stream.
            summary, cited = yield from self._condensed(self._model(None), key, most, aside=True)
            quoted = {citation["quote"] for citation in cited}
            part["summary"] = _MARKS.sub("", summary)
            part["key"] = [one for one in key if one["text"] in quoted] or key[:most]
        get_stream_writer()({"summarized": file, "error": part["error"]})
        return {"parts": [part]}

    def reduce(self, state: SummarizeState) -> Steps:
        """One summary of all."""
        parts = sorted(state["parts"], key=lambda part: part["source"])
        if all(part["error"] for part in parts):
            raise UnreadableDocumentError(
                f"None of the documents could be read; {parts[0]['source']} {parts[0]['error']}",
                data={part["source"]: part["error"] for part in parts[:_SHORTLIST]},
            )
        key = [sentence for part in parts for sentence in part["key"]]
        if len(parts) > 1 and len(key) > _SHORTLIST:
            key = yield Work(lambda: self._central(key))
        model = self._model(state.get("model"))
        summary, cited = yield from self._condensed(model, key, state["sentences"])
        told = [{name: part[name] for name in ("source", "summary", "error")} for part in parts]
        return {"summary": summary, "citations": cited, "documents": told}

    def _central(self, found: list[Found]) -> list[Found]:
        """Those nearest to what all are about, and unlike each other; in their own order.

        A sentence that ends in a colon says nothing without what follows it.
        """
        found = [one for one in found if not one["text"].endswith(":")] or found
        found = _commonest(found, _WEIGHED)
        if len(found) <= _OF_ONE:
            return found
        import numpy as np

        if self._embeddings is None:
            from nearfar.llm import embeddings

            self._embeddings = embeddings(settings=self._settings)
        texts = [f"{one['heading'] or ''} {one['text']}".strip() for one in found]
        vectors = np.asarray(self._embeddings.embed_documents(texts))
        nearness = vectors @ vectors.mean(axis=0)
        chosen: list[int] = []
        while len(chosen) < min(_SHORTLIST, len(found)):
            like = vectors @ vectors[chosen].T if chosen else np.zeros((len(found), 1))
            worth = nearness - 0.3 * like.max(axis=1)
            worth[chosen] = -np.inf
            chosen.append(int(worth.argmax()))
        return [found[place] for place in sorted(chosen)]

    def _condensed(
        self, model: BaseChatModel, key: list[Found], most: int, *, aside: bool = False
    ) -> Generator[Reply | Work, Any, tuple[str, list[Citation]]]:
        """The model's words over numbered sentences, and the sentences that bear them out."""
        if not key:
            return "", []
        ability = Ability.of(model)
        if ability.extractive:
            return (yield from _picked(model, ability, key, most))
        texts = prompts.fitting(model, ability, "summary", [k["text"] for k in key], _QUESTION)
        shown = key[: len(texts)]
        ranked = [
            Candidate(passage=n, text=one["text"], start=0, end=len(one["text"]), score=1.0)
            for n, one in enumerate(shown)
        ]
        question = f"{_QUESTION} At most {most} sentences."
        options = {"grammar": _marked(len(shown))} if ability.grammar else {}
        reply = yield Reply(
            model, prompts.with_passages("summary", texts, question), options, aside
        )
        checked = check(str(reply.text).strip(), shown, ranked)
        cited = [_citation(one.n, shown[one.n - 1], one.quote) for one in checked.cited]
        return checked.answer, cited


def _commonest(found: list[Found], most: int) -> list[Found]:
    """Of very many sentences those with the commonest words, in their order: cheap to find."""
    if len(found) <= most:
        return found
    words = [set(content_words(one["text"])) for one in found]
    common = Counter(word for one in words for word in one)
    worth = [sum(common[word] for word in one) / (len(one) + 3) for one in words]
    best = sorted(range(len(found)), key=lambda place: -worth[place])[:most]
    return [found[place] for place in sorted(best)]


def _picked(
    model: BaseChatModel, ability: Ability, key: list[Found], most: int
) -> Generator[Reply | Work, Any, tuple[str, list[Citation]]]:
    """A model that only finds sentences is asked for one after the other."""
    from nearfar.llm.local.grammar import quote_grammar

    left = list(range(len(key)))
    chosen: list[int] = []
    while left and len(chosen) < most:
        texts = [key[place]["text"] for place in left]
        texts = prompts.fitting(model, ability, "small", texts, _QUESTION)
        if not texts:
            break
        grammar = quote_grammar(list(enumerate(texts, 1)), max_quotes=1)
        messages = prompts.with_passages("small", texts, _QUESTION)
        reply = yield Reply(model, messages, {"grammar": grammar}, aside=True)
        number = _MARK.search(str(reply.text).strip())
        place = left[int(number[1]) - 1 if number else 0]
        chosen.append(place)
        left.remove(place)
    cited = [
        _citation(n, key[place], key[place]["text"]) for n, place in enumerate(sorted(chosen), 1)
    ]
    return " ".join(f"{one['quote']} [{one['n']}]" for one in cited), cited


def _citation(n: int, found: Found, quote: str) -> Citation:
    return Citation(
        n=n,
        source=found["source"],
        page=found["page"],
        heading=found["heading"],
        quote=quote,
        score=1.0,
    )


def _marked(count: int) -> str:
    from nearfar.llm.local.grammar import citation_text_grammar

    return citation_text_grammar(range(1, count + 1))
