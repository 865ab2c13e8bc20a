"""``data_report``: a question about a database, answered with a query, a chart and a report.

    begin -> query -> chart -> write -> finish

A model writes the query and is told what was wrong with it, at most three times; a small extractive
model does not write SQL, and rules read the question instead (``queries``). Everything goes through
the read-only tool ``sql``. A number in the report that stands in no row sends it back once, and
then the rules' own words take its place.
"""

from pathlib import Path
from typing import Annotated, Any, Required

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langgraph.graph import END, START, StateGraph
from pydantic import Field
from typing_extensions import TypedDict

from nearfar.agents.crew.state import Call, by_id, by_key
from nearfar.errors import UsageError
from nearfar.llm.steps import Steps
from nearfar.settings import Settings, resolve
from nearfar.tools import tool

from .ask_prompts import Ability
from .figures import number_column, told, unfounded
from .queries import best_table, build_query, quoted, source_of, text_columns
from .registry import Graph
from .tables import Database, Rows, Table, markdown
from .team import Did, Team, ask_as, call_as, did, duty, report_of

_ATTEMPTS = 3
_SHOWN_ROWS = 50  # rows that a model is shown
IMPOSSIBLE = "The database does not answer this question."


class DataReportInput(TypedDict, total=False):
    """A question, and the database that it is about."""

    question: Required[str]
    database: Annotated[
        str | None, Field(description="A SQLite file, or a name under tools.sql.databases.")
    ]
    with_chart: Annotated[bool, Field(description="Whether a chart is drawn where one fits.")]
    show_prompts: Annotated[bool, Field(description="Give all prompts that were sent.")]


class DataReportOutput(TypedDict):
    """What ``nearfar run data_report --json`` prints as its output."""

    report: str  # Markdown
    answered: bool
    query: str
    columns: list[str]
    rows: list[list[Any]]
    chart: dict[str, Any] | None  # Vega-Lite
    problems: list[str]  # what was wrong with queries and texts that were not used
    performance: dict[str, Any]
    prompts: list[dict[str, Any]]


class DataReportState(DataReportOutput):
    """Everything between the steps; plain JSON."""

    question: str
    database: str | None
    show_prompts: bool
    with_chart: bool
    reading: str  # in words, what the query asks
    compares: bool  # its rows are labels with numbers, and not just rows
    more: bool  # there are more rows than were read
    text: str
    calls: Annotated[list[Call], by_id]
    did: Annotated[dict[str, Did], by_key]


def build_data_report(
    model: BaseChatModel | str | None = None, settings: Settings | str | Path | None = None
) -> Graph:
    """The graph, with any chat model or the name of one."""
    team = _Team(model, resolve(settings))
    graph = StateGraph(
        DataReportState, input_schema=DataReportInput, output_schema=DataReportOutput
    )
    graph.add_node("begin", team.begin)
    graph.add_node("query", duty("query", "analyst", team.query, calls_are_tries=True))
    graph.add_node("draw", duty("draw", "illustrator", team.draw))
    graph.add_node("write", duty("write", "writer", team.write, calls_are_tries=True))
    graph.add_node("finish", team.finish)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "query")
    graph.add_edge("query", "draw")
    graph.add_edge("draw", "write")
    graph.add_edge("write", "finish")
    graph.add_edge("finish", END)
    return graph.compile(name="data_report")


class _Team(Team):
    """The roles."""

    def begin(self, state: DataReportState) -> dict[str, Any]:
        """Check the input, and empty what a thread's last run left."""
        question: object = state.get("question")
        if not isinstance(question, str) or not question.strip():
            raise UsageError("The question is empty.", remedy="Give it with --question.")
        return {
            "question": question.strip(), "chart": None,
            "problems": [], "calls": None, "did": None, "rows": [], "columns": [], "query": "", "reading": "",
            "compares": False, "more": False,
        }  # fmt: skip

    def query(self, state: DataReportState) -> Steps:
        """The query and its rows."""
        database = Database(state.get("database"), self._settings)
        tables: list[Table] = yield from database.tables()
        by_rules = Ability.of(self.model).extractive
        way = self._by_rules if by_rules else self._by_model
        update = yield from way(state["question"], database, tables)
        tries = len(update.get("calls") or [])  # each asks the model once
        ok = bool(update.get("columns"))
        return {**update, "did": did("query", "analyst", ok=ok, attempts=tries)}

    def _by_rules(self, question: str, database: Database, tables: list[Table]) -> Steps:
        table = best_table(question, tables)
        if table is None:
            listed = "; ".join(map(str, tables)) or "none"
            return {"problems": [f"The question speaks of none of the tables: {listed}."]}
        values: dict[str, list[str]] = {}
        for column in text_columns(table):
            name = quoted(column.name, database.dialect)
            source = source_of(table, database.dialect)
            distinct = f"SELECT DISTINCT {name} FROM {source} LIMIT 200"  # noqa: S608 - quoted names
            rows: Rows = yield from database.query(distinct, "values")
            values[column.name] = [str(row[0]) for row in rows.rows if isinstance(row[0], str)]
        query = build_query(question, table, values, database.dialect)
        rows = yield from database.query(query.sql, "query")
        if rows.problem:
            return {"query": query.sql, "problems": [rows.problem]}
        return _found(query.sql, query.reading, rows, [], compares=query.grouped)

    def _by_model(self, question: str, database: Database, tables: list[Table]) -> Steps:
        prompt = self._prompts.get("report/query")
        calls: list[Call] = []
        problems: list[str] = []
        sql = ""
        for _ in range(_ATTEMPTS):
            messages = prompt.messages(
                question=question,
                dialect=database.dialect,
                tables="\n".join(map(str, tables)),
                feedback=problems[-1] if problems else "",
                query=sql,
            )
            said = yield from ask_as("analyst", "query", self.model, messages)
            calls += said.calls
            sql = _bare(said.text)
            if sql.upper().startswith("IMPOSSIBLE"):
                return {"calls": calls, "problems": problems}
            rows: Rows = yield from database.query(sql, "query")
            if not rows.problem:
                return {**_found(sql, "the rows of the query", rows, problems), "calls": calls}
            problems.append(rows.problem)
        return {"query": sql, "calls": calls, "problems": problems}

    def draw(self, state: DataReportState) -> Steps:
        """A chart, where there are labels and numbers."""
        rows, columns = state["rows"], state["columns"]
        place = number_column(rows)
        wanted = state.get("with_chart", True) and state["compares"]
        if not wanted or len(rows) < 2 or place is None:
            return {"chart": None}
        names = _distinct(columns)
        over_time = all(_is_time(row[0]) for row in rows)
        arguments = {
            "rows": [dict(zip(names, row, strict=True)) for row in rows],
            "x": names[0],
            "y": names[place],
            "kind": "line" if over_time else "bar",
            "title": state["question"][:200],
        }
        call = {"type": "tool_call", "name": "chart", "args": arguments, "id": "chart"}
        said = yield from call_as("illustrator", "draw", tool("chart", self._settings), call)
        reply = said.reply
        if not isinstance(reply, ToolMessage) or reply.status == "error":
            problems = [*state["problems"], str(reply.text)]
            failed = did("draw", "illustrator", ok=False)
            return {"chart": None, "problems": problems, "did": failed}
        return {"chart": reply.artifact["data"]["spec"], "did": did("draw", "illustrator")}

    def write(self, state: DataReportState) -> Steps:
        """What the rows say."""
        rows, columns = state["rows"], state["columns"]
        if not columns:
            return {"text": IMPOSSIBLE, "did": did("write", "writer", ok=False)}
        own = told(state["reading"], columns, rows, compares=state["compares"])
        if Ability.of(self.model).extractive or not rows:
            return {"text": own, "did": did("write", "writer")}
        calls: list[Call] = []
        problems = list(state["problems"])
        feedback = ""
        for tries in (1, 2):
            messages = self._prompts.get("report/write").messages(
                question=state["question"],
                rows=markdown(columns, rows, _SHOWN_ROWS),
                feedback=feedback,
            )
            said = yield from ask_as("writer", "write", self.model, messages)
            calls += said.calls
            wrong = unfounded(said.text, rows, state["question"])
            if said.text and not wrong:
                done = did("write", "writer", attempts=tries)
                return {"text": said.text, "calls": calls, "did": done}
            feedback = f"These numbers stand in no row: {', '.join(wrong)}."
            problems.append(feedback)
        failed = did("write", "writer", ok=False, attempts=2)
        return {"text": own, "calls": calls, "problems": problems, "did": failed}

    def finish(self, state: DataReportState) -> dict[str, Any]:
        """The report in Markdown: text, rows, query."""
        rows, columns = state["rows"], state["columns"]
        parts = [f"# {state['question']}", state["text"]]
        if rows:
            parts.append(markdown(columns, rows))
        if rows and state["more"]:
            parts.append("There are more rows than were read.")
        if state["query"]:
            parts.append(f"The query:\n\n```sql\n{state['query']}\n```")
        return {
            **report_of(state),
            "report": "\n\n".join(parts),
            "answered": bool(columns),
        }


def _found(
    sql: str, reading: str, rows: Rows, problems: list[str], *, compares: bool = True
) -> dict[str, Any]:
    return {
        "compares": compares,
        "query": sql, "reading": reading, "columns": rows.columns, "rows": rows.rows,
        "more": rows.more, "problems": problems,
    }  # fmt: skip


def _bare(text: str) -> str:
    """The statement without a fence around it."""
    lines = [line for line in text.strip().splitlines() if not line.strip().startswith("```")]
    return "\n".join(lines).strip()


def _distinct(names: list[str]) -> list[str]:
    """Each name once; a second ``n`` becomes ``n (2)``."""
    made: list[str] = []
    for name in names:
        count = sum(1 for earlier in made if earlier == name or earlier.startswith(f"{name} ("))
        made.append(f"{name} ({count + 1})" if count else name)
    return made


def _is_time(value: Any) -> bool:
    text = str(value)
    return len(text) >= 4 and text[:4].isdigit() and not text[4:].strip("-0123456789:T ")
