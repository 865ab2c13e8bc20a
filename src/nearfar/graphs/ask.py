"""``ask``: a question about documents, answered with citations that were checked.

    condense -> retrieve -> judge -> answer -> check
                              |                  ^
                              +--- no answer ----+

One call of the model answers; one more rewrites a follow-up question, and where retrieval leaves it
open, one more lets a model that takes grammars judge whether the passages answer. A small extractive model (see ``Ability``)
only chooses among the sentences that retrieval finds likeliest, and can say nothing else.
"""

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any, Literal, Required, get_args

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.errors import UsageError
from nearfar.retrieval import Index, Passage
from nearfar.settings import Settings, resolve

from . import ask_prompts as prompts
from .answers import Citation, citations_of, confidence
from .ask_prompts import Ability
from .citations import Checked, check, refuses
from .evidence import CLEAR, HOPELESS, SURE, Candidate, Found, rank, shortlist
from .questions import asking, points_back
from .registry import Graph
from .sentences import REFUSAL
from .steps import Reply, Update, Work, both_ways

UNANSWERED = "The documents do not answer this question."

_TURNS_KEPT = 12  # messages of a thread's history

Mode = Literal["answer", "quote"]
Steps = Generator[Reply | Work, Any, Update]


def _recent(left: Any, right: Any) -> Any:
    """The latest messages: a thread's state must not grow with every turn."""
    return list(add_messages(left, right))[-_TURNS_KEPT:]


class AskInput(TypedDict, total=False):
    """A question, and either documents or an index; a thread remembers which."""

    question: Required[str]
    docs: Annotated[list[str] | None, Field(description="Files and folders to answer from.")]
    index: Annotated[str | None, Field(description="The name of an index, instead of docs.")]
    mode: Annotated[Mode | None, Field(description="quote: only sentences of the documents.")]
    messages: Annotated[list[AnyMessage], Field(description="The conversation, oldest first.")]


class AskOutput(TypedDict):
    """What ``nearfar ask --json`` prints."""

    answer: str
    answered: bool
    citations: list[Citation]
    confidence: float
    model: str
    usage: UsageMetadata
    timings: dict[str, float]


class AskState(AskOutput):
    """Everything between the steps; plain JSON, so that it can be kept."""

    question: str
    docs: list[str] | None
    index: str | None
    mode: Mode | None
    messages: Annotated[list[AnyMessage], _recent]  # oldest first
    query: str  # the question, made to stand alone where the model can do that
    search: str  # what passages are looked for with
    passages: list[Found]
    candidates: list[Candidate]
    offered: list[int]  # candidates (extractive) or passages that the model was shown
    draft: str | None  # the model's words; None: it was not asked


def build_ask(
    model: BaseChatModel | str | None = None,
    index: Index | None = None,
    settings: Settings | str | Path | None = None,
) -> Graph:
    """The graph, with any chat model (or the name of one) and any index.

    Without a model, ``nearfar.chat_model()`` of the settings. With an ``index`` the input names
    neither documents nor an index; without, each question says where to look.
    """
    ask = _Ask(model, index, resolve(settings))
    graph = StateGraph(AskState, input_schema=AskInput, output_schema=AskOutput)
    for step in (ask.condense, ask.retrieve, ask.judge, ask.answer, ask.check):
        name = step.__name__
        graph.add_node(name, both_ways(name, _timed(name, step)))
    graph.add_edge(START, "condense")
    graph.add_edge("condense", "retrieve")
    graph.add_edge("retrieve", "judge")
    graph.add_conditional_edges("judge", _after_judge, ["answer", "check"])
    graph.add_edge("answer", "check")
    graph.add_edge("check", END)
    return graph.compile(name="ask")


def _after_judge(state: AskState) -> str:
    return "answer" if state["offered"] else "check"


def _timed(name: str, step: Callable[[AskState], Steps | Update]) -> Callable[[AskState], Steps]:
    """Adds the step's seconds to ``timings``; the first step starts them anew."""

    def timed(state: AskState) -> Steps:
        began = time.perf_counter()
        outcome = step(state)
        update = outcome if isinstance(outcome, dict) else (yield from outcome)
        before = {} if name == "condense" else state["timings"]
        timings = {**before, f"{name}_s": round(time.perf_counter() - began, 4)}
        timings.pop("total_s", None)
        return {**update, "timings": {**timings, "total_s": round(sum(timings.values()), 4)}}

    return timed


class _Ask:
    """The steps, and what they need, made when it is first used."""

    def __init__(self, model: BaseChatModel | str | None, index: Index | None, s: Settings) -> None:
        self._chosen = model
        self._index = index
        self._settings = s
        self._opened: dict[str, Index] = {}
        self._embeddings: Embeddings | None = None

    @property
    def model(self) -> BaseChatModel:
        if not isinstance(self._chosen, BaseChatModel):
            from nearfar.llm import chat_model

            self._chosen = chat_model(self._chosen, settings=self._settings)
        return self._chosen

    @property
    def embeddings(self) -> Embeddings:
        """One model for the index and for sentences."""
        if self._embeddings is None:
            from nearfar.llm import embeddings

            self._embeddings = embeddings(settings=self._settings)
        return self._embeddings

    def condense(self, state: AskState) -> Steps:
        """Make a follow-up question stand alone; check that the input can be worked with."""
        question = self._check_input(state)
        ability = Ability.of(self.model)
        prompts.fitting(self.model, ability, "small", (), question)
        fresh: Update = {"question": question, "query": question, "search": question}
        fresh["usage"] = _no_usage()
        history = state.get("messages") or []
        if not history:
            return fresh
        if ability.extractive:
            return {**fresh, "search": _joined(question, history)}
        talk = "\n".join(f"{m.type}: {m.text}" for m in history)
        request = f"{talk}\n\nLast question: {question}"
        messages = [SystemMessage(prompts.text("condense")), HumanMessage(request)]
        reply = yield Reply(self.model, messages, aside=True)
        lines = str(reply.text).strip().strip('"').splitlines()
        query = lines[0].strip() if lines and lines[0].strip() else question
        return {**fresh, "query": query, "search": query, "usage": _added(fresh["usage"], reply)}

    def retrieve(self, state: AskState) -> Steps:
        """The passages that fit best, and their sentences by how likely they answer."""
        query, search = state["query"], state["search"]
        hits: list[Passage] = yield Work(lambda: self._open(state).search(search))
        passages = [
            Found(
                text=hit.text,
                source=str(hit.source),
                page=hit.page,
                heading=hit.heading,
                score=hit.score,
            )
            for hit in hits
        ]
        asked = asking(query)
        candidates = yield Work(lambda: rank(asked, passages, self.embeddings.embed_documents))
        return {"passages": passages, "candidates": candidates}

    def judge(self, state: AskState) -> Steps:
        """Choose what the model is shown: nothing, where the passages do not answer."""
        nothing: Update = {"offered": [], "draft": None}
        candidates, passages = state["candidates"], state["passages"]
        ability = Ability.of(self.model)
        if ability.extractive:
            if not candidates or candidates[0]["score"] < HOPELESS:
                return nothing
            few = [c["text"] for c in shortlist(candidates)]
            fits = prompts.fitting(self.model, ability, "small", few, state["query"])
            return {**nothing, "offered": list(range(len(fits)))}
        texts = [passage["text"] for passage in passages]
        fits = prompts.fitting(self.model, ability, _prompt(state), texts, state["query"])
        offered = list(range(len(fits)))
        clear = bool(candidates) and candidates[0]["score"] >= CLEAR
        if not fits or clear or not ability.grammar:
            return {**nothing, "offered": offered}
        from nearfar.llm.local.grammar import choice_grammar

        messages = prompts.with_passages("judge", fits, state["query"])
        options = {"grammar": choice_grammar(["yes", "no"]), "max_tokens": 8}
        reply = yield Reply(self.model, messages, options, aside=True)
        answers = str(reply.text).strip() != "no"
        usage = _added(state["usage"], reply)
        return {**nothing, "offered": offered if answers else [], "usage": usage}

    def answer(self, state: AskState) -> Steps:
        """The model's words, bound by a grammar where the model takes one."""
        ability = Ability.of(self.model)
        shown, name = self._shown(state), _prompt(state)
        options: dict[str, Any] = {}
        if ability.extractive:
            name = "small"
        if ability.grammar:
            options["grammar"] = self._grammar(state, ability)
        messages = prompts.with_passages(name, [p["text"] for p in shown], state["query"])
        reply = yield Reply(self.model, messages, options)
        usage = _added(state["usage"], reply)
        return {"draft": str(reply.text).strip(), "usage": usage, "model": _name(self.model, reply)}

    def check(self, state: AskState) -> Update:
        """Take out what the passages do not bear out, and say how sure the rest is."""
        draft = state["draft"]
        candidates = state["candidates"]
        update: Update = {} if draft is not None else {"model": _name(self.model, None)}
        shown = self._shown(state)
        ability = Ability.of(self.model)
        ranked = self._numbered(state, ability)
        checked: Checked | None = None
        if draft is not None and not refuses(draft):
            verbatim = ability.extractive or state.get("mode") == "quote"
            checked = check(draft, shown, ranked, verbatim=verbatim)
        if checked is None or not checked.answer:
            best = candidates[0]["score"] if candidates else 0.0
            said = draft if draft and checked is None else UNANSWERED
            update |= {"answer": said, "answered": False, "citations": []}
            update["confidence"] = round(1 - best, 3)
        else:
            cited = citations_of(checked, shown, ranked)
            update |= {"answer": checked.answer, "answered": True, "citations": cited}
            update["confidence"] = confidence(checked, cited)
        turn = [HumanMessage(state["question"]), AIMessage(update["answer"])]
        return {**update, "messages": turn}

    def _check_input(self, state: AskState) -> str:
        """The question. Raises UsageError for what the types of a state do not keep out."""
        question: object = state.get("question", "")
        docs, index, mode = state.get("docs"), state.get("index"), state.get("mode")
        if not isinstance(question, str) or mode not in (None, *get_args(Mode)):
            raise UsageError(
                "The question must be a text, and the mode one of answer and quote.",
                remedy='For example {"question": "...", "docs": ["docs/"], "mode": "quote"}.',
            )
        if not question.strip():
            raise UsageError(
                "The question is empty.",
                remedy='Write it after the command: nearfar ask "..." --docs FOLDER.',
            )
        if docs and index:
            raise UsageError(
                "Documents and an index were named at once.",
                remedy="Name either --docs PATH or --index NAME.",
            )
        if self._index is None and not docs and not index:
            raise UsageError(
                "Nothing says where to look for the answer.",
                remedy="Name files or folders with --docs PATH, or an index with --index NAME.",
            )
        if self._index is not None and (docs or index):
            raise UsageError(
                "This graph was made with an index of its own.",
                remedy="Leave out docs and index, or build the graph without an index.",
            )
        return question.strip()

    def _open(self, state: AskState) -> Index:
        if self._index is not None:
            return self._index
        name = state.get("index")
        if name:
            if name not in self._opened:
                self._opened[name] = Index.open(
                    name, settings=self._settings, embeddings=self.embeddings
                )
            return self._opened[name]
        docs: Any = state.get("docs") or []
        docs = [docs] if isinstance(docs, str | Path) else docs  # one path is meant as a list of it
        return Index.for_paths(docs, settings=self._settings, embeddings=self.embeddings)

    def _shown(self, state: AskState) -> list[Found]:
        """What the model saw, numbered from 1: passages, or single sentences of them."""
        passages, candidates = state["passages"], state["candidates"]
        if not Ability.of(self.model).extractive:
            return [passages[place] for place in state["offered"]]
        chosen = [candidates[place] for place in state["offered"]]
        return [Found({**passages[c["passage"]], "text": _raw(passages, c)}) for c in chosen]

    def _numbered(self, state: AskState, ability: Ability) -> list[Candidate]:
        """The candidates with their places in what the model saw."""
        candidates = state["candidates"]
        if not ability.extractive:
            return candidates
        return [
            {**candidates[place], "passage": n, "start": 0, "end": len(candidates[place]["text"])}
            for n, place in enumerate(state["offered"])
        ]

    def _grammar(self, state: AskState, ability: Ability) -> str:
        from nearfar.llm.local.grammar import citation_text_grammar, quote_grammar

        ranked = self._numbered(state, ability)
        if ability.extractive:
            sure = bool(ranked) and ranked[0]["score"] >= SURE
            sentences = [(c["passage"] + 1, c["text"]) for c in ranked]
            return quote_grammar(sentences, None if sure else REFUSAL, max_quotes=1)
        numbers = [place + 1 for place in state["offered"]]
        if _prompt(state) == "quote":
            sentences = [(c["passage"] + 1, c["text"]) for c in ranked]
            offered = [pair for pair in sentences if pair[0] in numbers][:64]
            return quote_grammar(offered, REFUSAL)
        return citation_text_grammar(numbers, refusal=REFUSAL)


def _raw(passages: list[Found], candidate: Candidate) -> str:
    return passages[candidate["passage"]]["text"][candidate["start"] : candidate["end"]]


def _prompt(state: AskState) -> str:
    return "quote" if state.get("mode") == "quote" else "answer"


def _joined(question: str, history: list[AnyMessage]) -> str:
    """For a model that cannot rewrite: what a question that points back is searched with."""
    follows = points_back(question) or len(question.split()) < 4
    earlier = [str(m.text) for m in history if m.type == "human"]
    return f"{earlier[-1]} {question}" if follows and earlier else question


def _no_usage() -> UsageMetadata:
    return UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)


def _added(usage: UsageMetadata, reply: AIMessage) -> UsageMetadata:
    return add_usage(usage, reply.usage_metadata)


def _name(model: BaseChatModel, reply: AIMessage | None) -> str:
    """As the reply names it; where no reply was asked for, as the model names itself."""
    said = reply.response_metadata.get("model_name") if reply is not None else None
    declared = getattr(getattr(model, "info", None), "name", None)
    named = said or declared or model._get_ls_params().get("ls_model_name")  # noqa: SLF001 - no public name
    return str(named or type(model).__name__)
