"""``extract``: rows by a schema from documents, into CSV, JSONL or SQLite.

    collect -> one (for each document of a batch) -> keep -> ... -> write -> tidy

Each row is checked against the schema. What fails goes to ``escalate_to``, once, where that is
given; what fails then is reported and left out. Rows are kept beside the output as they are made,
so a run over thousands of files goes on where it stopped.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, Required
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.errors import (
    ContentBlockedError,
    ContentFilteredError,
    ContextTooLongError,
    ContextWindowError,
    DocumentError,
    RequestTooLargeError,
)
from nearfar.retrieval.readers import DocumentText
from nearfar.settings import Settings, resolve

from .ask_prompts import Ability
from .cascades import cascade, fits
from .documents import files_of, read, reason, sentences_of
from .fields import Fields, asked_for, found_in
from .registry import Graph
from .rows import RowFile, check_output, forget
from .steps import Invoke, Reply, Update, Work, both_ways

NAME = "extract"  # also of the cascade, in its report
AT_ONCE = 8  # documents in a batch; their rows are kept together

# What is wrong with one document, and not with the model or the machine: the others go on.
_OF_THIS_DOCUMENT = (
    DocumentError,
    ContextWindowError,
    ContextTooLongError,
    RequestTooLargeError,
    ContentFilteredError,
    ContentBlockedError,
)

Steps = Generator[Reply | Work | Invoke, Any, Any]


class ExtractInput(TypedDict, total=False):
    """What is looked for, where, and where it goes."""

    docs: Required[Annotated[list[str], Field(description="Files and folders.")]]
    schema: Required[
        Annotated[str | dict[str, Any], Field(description="A YAML or JSON file, or MODULE:CLASS.")]
    ]
    out: Required[Annotated[str, Field(description="A .csv, .jsonl or .db file.")]]
    escalate_to: Annotated[str | None, Field(description="Model or router for what fails.")]


class ExtractOutput(TypedDict):
    """What came of it."""

    out: str
    rows: int
    escalated: int
    failed: list[dict[str, str]]  # source and reason


class ExtractState(ExtractOutput):
    """Between the steps; the rows themselves are in the file."""

    docs: list[str]
    schema: Any
    escalate_to: str | None
    fields: dict[str, Any]  # the JSON schema of a row
    owner: str  # of the rows beside the output: a later run to the same file takes them over
    count: int  # of documents
    done: int


class _One(TypedDict):
    file: str
    fields: dict[str, Any]
    out: str
    owner: str
    escalate_to: str | None


class _Tried(TypedDict):
    row: Any  # what the model made of a document; checked afterwards
    escalated: bool


def build_extract(
    model: BaseChatModel | str | None = None,
    escalate_to: BaseChatModel | None = None,
    settings: Settings | str | Path | None = None,
) -> Graph:
    """The graph, with any chat model for the first try and for what fails its check."""
    work = _Extract(model, escalate_to, resolve(settings))
    graph = StateGraph(ExtractState, input_schema=ExtractInput, output_schema=ExtractOutput)
    graph.add_node("collect", both_ways("collect", work.collect))
    graph.add_node("one", both_ways("one", work.one), input_schema=_One)
    graph.add_node("keep", both_ways("keep", work.keep))
    graph.add_node("write", both_ways("write", work.write))
    graph.add_edge(START, "collect")
    graph.add_conditional_edges("collect", work.batch, ["one", "write"])
    graph.add_edge("one", "keep")
    graph.add_conditional_edges("keep", work.batch, ["one", "write"])
    graph.add_node("tidy", both_ways("tidy", work.tidy))
    graph.add_edge("write", "tidy")
    graph.add_edge("tidy", END)
    return graph.compile(name=NAME).with_config({"recursion_limit": 1_000_000})


class _Extract:
    def __init__(
        self,
        model: BaseChatModel | str | None,
        escalate_to: BaseChatModel | None,
        settings: Settings,
    ) -> None:
        self._chosen = model
        self._escalate_to = escalate_to
        self._settings = settings

    def collect(self, state: ExtractState) -> Steps:
        """The documents, noted beside the output."""
        fields = Fields.read(state["schema"])
        out, owner = Path(state["out"]).expanduser().absolute(), uuid4().hex

        def begin() -> int:
            check_output(out, fields)
            files = files_of(state["docs"], self._settings)
            with RowFile(str(out), fields, owner) as rows:
                rows.begin(files)
            return len(files)

        count = yield Work(begin)
        told = {"fields": fields.schema, "out": str(out), "owner": owner}
        return {**told, "count": count, "done": 0}

    def batch(self, state: ExtractState) -> Any:
        """The next documents."""
        with _rows_of(state) as rows:
            files = rows.waiting(AT_ONCE)
        shared = {name: state.get(name) for name in ("fields", "out", "owner", "escalate_to")}
        return [Send("one", {"file": file, **shared}) for file in files] or "write"

    def one(self, state: _One) -> Steps:
        """The row of a document, checked; else why there is none."""
        file, schema = state["file"], state["fields"]
        try:
            document = yield Work(lambda: read(file, self._settings))
            tried = yield Invoke(self._node(state), document)
            problem = fits(schema, "row")(tried)
        except _OF_THIS_DOCUMENT as error:
            asked_far = not isinstance(error, DocumentError) and self._far(state) is not None
            tried, problem = _Tried(row=None, escalated=asked_far), reason(error)
        row = None if problem else tried["row"]
        with _rows_of(state) as rows:
            rows.keep(file, row, str(problem or ""), escalated=tried["escalated"])
        return {}

    def _node(self, state: _One) -> Runnable[Any, Any]:
        """What makes a row of a document: one model, or a cascade of two."""
        fields, better = Fields(state["fields"]), self._far(state)
        near = _asks(self._model(None), fields, escalated=False)
        if better is None:
            return near
        far = _asks(better, fields, escalated=True)
        return cascade(near, fits(fields.schema, "row"), far, name=NAME, settings=self._settings)

    def _far(self, state: _One) -> BaseChatModel | None:
        name = state.get("escalate_to")
        return self._model(name) if name else self._escalate_to

    def keep(self, state: ExtractState) -> Steps:
        """Say how far it is."""

        def count() -> int:
            with _rows_of(state) as rows:
                return rows.done()

        done = yield Work(count)
        get_stream_writer()({"extracted": done, "of": state["count"]})
        return {"done": done}

    def write(self, state: ExtractState) -> Steps:
        """The output, whole, in the order of the documents."""

        def work() -> Update:
            with _rows_of(state) as rows:
                return rows.write()

        told: Update = yield Work(work)
        return told

    def tidy(self, state: ExtractState) -> Steps:
        """The output is there: what it was made of can go, unless a later run began meanwhile."""

        def work() -> None:
            with _rows_of(state) as rows:
                owner = rows.owner()
            if owner in (None, state["owner"]):
                forget(state["out"])

        yield Work(work)
        return {}

    def _model(self, name: str | None) -> BaseChatModel:
        if name is None and isinstance(self._chosen, BaseChatModel):
            return self._chosen
        from nearfar.llm import chat_model

        chosen = name or (self._chosen if isinstance(self._chosen, str) else None)
        return chat_model(chosen, settings=self._settings)


def _rows_of(state: ExtractState | _One) -> RowFile:
    return RowFile(state["out"], Fields(state["fields"]), state["owner"])


def _asks(model: BaseChatModel, fields: Fields, *, escalated: bool) -> Runnable[Any, Any]:
    """Makes a row of a document with the model."""

    def ask(document: DocumentText) -> Steps:
        ability = Ability.of(model)
        if ability.extractive:  # it finds, and does not write: the values are taken from the text
            told = [found["text"] for found in sentences_of(document)]
            return _Tried(row=found_in(document.text, told, fields), escalated=escalated)
        options: dict[str, Any] = {}
        if ability.grammar:
            from nearfar.llm.local.grammar import json_grammar

            options["grammar"] = json_grammar(fields.schema)
        reply = yield Reply(model, asked_for(fields, document.text, ability.window), options)
        return _Tried(row=fields.parsed(str(reply.text)), escalated=escalated)

    return both_ways("escalated" if escalated else "near", ask)
