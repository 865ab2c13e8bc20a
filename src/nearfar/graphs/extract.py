"""``extract``: rows by a schema from documents, into CSV, JSONL or SQLite.

    collect -> one (for each document of a batch) -> keep -> ... -> write -> tidy

Each row is checked against the schema. What fails goes to ``escalate_to``, once, where that is
given; what fails then is reported and left out. Rows are kept beside the output as they are made,
so a run over thousands of files goes on where it stopped.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, Required

from langchain_core.language_models import BaseChatModel
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.errors import DocumentError
from nearfar.settings import Settings, resolve

from .ask_prompts import Ability
from .cascades import fits, note
from .documents import files_of, reason, sentences_of
from .fields import Fields, asked_for, found_in
from .registry import Graph
from .rows import RowFile, forget
from .steps import Reply, Update, Work, both_ways

AT_ONCE = 8  # documents in a batch; their rows are kept together

Steps = Generator[Reply | Work, Any, Any]


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
    count: int  # of documents
    done: int


class _One(TypedDict):
    file: str
    fields: dict[str, Any]
    out: str
    escalate_to: str | None


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
    return graph.compile(name="extract").with_config({"recursion_limit": 1_000_000})


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
        """The documents, noted beside the output; those that are done already stay done."""
        fields = Fields.read(state["schema"])
        out = str(Path(state["out"]).absolute())

        def begin() -> int:
            files = files_of(state["docs"], self._settings)
            with RowFile(out, fields) as rows:
                rows.begin(files)
            return len(files)

        count = yield Work(begin)
        return {"fields": fields.schema, "out": out, "count": count, "done": 0, "rows": 0}

    def batch(self, state: ExtractState) -> Any:
        """The next documents."""
        with RowFile(state["out"], Fields(state["fields"])) as rows:
            files = rows.waiting(AT_ONCE)
        shared = {name: state.get(name) for name in ("fields", "out", "escalate_to")}
        return [Send("one", {"file": file, **shared}) for file in files] or "write"

    def one(self, state: _One) -> Steps:
        """The row of a document, checked; else why there is none."""
        fields, file = Fields(state["fields"]), state["file"]
        try:
            texts = yield Work(lambda: [s["text"] for s in sentences_of(file, self._settings)])
            near = self._model(None)
            row = yield from self._row(near, fields, file, texts)
            problem = _problem(fields, row)
            escalated = bool(problem) and self._far(state) is not None
            if escalated:
                row = yield from self._row(self._far(state), fields, file, texts)
            after = _problem(fields, row) if escalated else problem
            yield Work(
                lambda: note(
                    self._settings, "extract", near=problem, far=after, escalated=escalated
                )
            )
        except DocumentError as error:
            row, after, escalated = None, reason(error), False
        with RowFile(state["out"], fields) as rows:
            rows.keep(file, None if after else row, str(after or ""), escalated=escalated)
        return {}

    def keep(self, state: ExtractState) -> Steps:
        """Say how far it is."""

        def count() -> int:
            with RowFile(state["out"], Fields(state["fields"])) as rows:
                return rows.done()

        done = yield Work(count)
        get_stream_writer()({"extracted": done, "of": state["count"]})
        return {"done": done}

    def write(self, state: ExtractState) -> Steps:
        """The output, whole, in the order of the documents."""

        def work() -> Update:
            with RowFile(state["out"], Fields(state["fields"])) as rows:
                return rows.write()

        told: Update = yield Work(work)
        return told

    def tidy(self, state: ExtractState) -> Steps:
        """The output is there: what it was made of can go."""
        yield Work(lambda: forget(state["out"]))
        return {}

    def _model(self, name: str | None) -> BaseChatModel:
        if name is None and isinstance(self._chosen, BaseChatModel):
            return self._chosen
        from nearfar.llm import chat_model

        chosen = name or (self._chosen if isinstance(self._chosen, str) else None)
        return chat_model(chosen, settings=self._settings)

    def _far(self, state: _One) -> BaseChatModel | None:
        name = state.get("escalate_to")
        return self._model(name) if name else self._escalate_to

    def _row(self, model: Any, fields: Fields, file: str, texts: list[str]) -> Steps:
        """A row of one model; None where its answer is no row."""
        ability = Ability.of(model)
        if ability.extractive:  # it finds, and does not write: the values are taken from the text
            raw = yield Work(lambda: _text_of(file, self._settings))
            return found_in(raw, texts, fields)
        raw = yield Work(lambda: _text_of(file, self._settings))
        options: dict[str, Any] = {}
        if ability.grammar:
            from nearfar.llm.local.grammar import json_grammar

            options["grammar"] = json_grammar(fields.schema)
        reply = yield Reply(model, asked_for(fields, raw, ability.window), options)
        return fields.parsed(str(reply.text))


def _problem(fields: Fields, row: Any) -> str | None:
    said = fits(fields.schema)(row)
    return said if isinstance(said, str) else None


def _text_of(file: str, settings: Settings) -> str:
    from nearfar.retrieval.readers.process import ReaderProcess
    from nearfar.retrieval.readers.read import ReadLimits

    own = settings.retrieval
    limits = ReadLimits(own.max_file_mb, own.max_pages, own.read_timeout_s)
    with ReaderProcess(limits) as reader:
        return reader.read(file).text
