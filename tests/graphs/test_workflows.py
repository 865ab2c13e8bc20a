"""The workflows that come with Nearfar: summarize, extract, approve."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import nearfar
from nearfar.errors import NoDocumentsError, UsageError
from nearfar.graphs.approve import build_approve
from nearfar.graphs.cascades import report
from nearfar.graphs.extract import build_extract
from nearfar.graphs.fields import Fields
from nearfar.graphs.inputs import input_schema
from nearfar.graphs.summarize import build_summarize
from nearfar.testing import ScriptedChatModel

THREAD: Any = {"configurable": {"thread_id": "t"}}
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "workflows.md"
SCHEMA = {"vendor": "string", "total": "number"}
GOOD = '{"vendor": "Kiln", "total": 12.5}'


@pytest.mark.parametrize("name", ["approve", "extract", "summarize"])
def test_its_picture_in_the_docs_is_its_graph(name: str) -> None:
    drawn = nearfar.workflow(name).get_graph().draw_mermaid(with_styles=False)
    pictures = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert drawn.strip() in [picture.strip() for picture in pictures]


@pytest.mark.parametrize("name", ["approve", "extract", "summarize"])
def test_every_input_says_what_it_is(name: str) -> None:
    schema = input_schema(nearfar.workflow(name))
    assert schema.fields
    assert all(field.description for field in schema.fields)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(3):
        text = f"The kiln number {n} was built in 195{n}. It burns wood of the old forest.\n"
        (docs / f"{n}.txt").write_text(text, encoding="utf-8")
    return docs


async def test_summarize_maps_with_one_model_and_reduces_with_another(folder: Path) -> None:
    (folder / "scan.pdf").write_bytes(b"%PDF-1.4 broken")
    replies = [f"Kiln {n} was built in 195{n}. [1]" for n in range(3)]
    with ScriptedChatModel([*replies, "The kilns are of the 1950s. [1][2]"]) as model:
        graph = build_summarize(model)
        told = [part async for part in graph.astream({"docs": [str(folder)]}, stream_mode="custom")]
        model_calls = len(model.calls)
    assert model_calls == 4
    assert {Path(part["summarized"]).name for part in told} == {
        "0.txt",
        "1.txt",
        "2.txt",
        "scan.pdf",
    }


def test_a_summary_cites_what_stands_in_the_documents(folder: Path) -> None:
    with ScriptedChatModel(["Built in 1950. [1] Made up. [9]"] * 4) as model:
        found = build_summarize(model).invoke({"docs": [str(folder)]})
    assert "[9]" not in found["summary"]
    assert [part["error"] for part in found["documents"]] == [None] * 3
    for citation in found["citations"]:
        assert citation["quote"] in Path(citation["source"]).read_text(encoding="utf-8")


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoDocumentsError):
        build_summarize().invoke({"docs": [str(tmp_path)]})


def extracted(folder: Path, out: Path, *replies: str, far: list[str] | None = None) -> Any:
    with ScriptedChatModel(list(replies)) as near, ScriptedChatModel(far or []) as better:
        graph = build_extract(near, better if far is not None else None)
        return graph.invoke(
            {"docs": [str(folder)], "schema": SCHEMA, "out": str(out)}, {"max_concurrency": 1}
        )


def test_only_rows_that_fail_their_check_go_on_and_what_fails_then_is_reported(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    told = extracted(folder, out, GOOD, "no JSON", '{"vendor": 1}', far=[GOOD, '{"vendor": "x"}'])
    assert (told["rows"], told["escalated"]) == (2, 2)
    [failed] = told["failed"]
    assert "'total' is a required property" in failed["reason"]
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["total"] for row in rows] == [12.5, 12.5]
    assert Path(rows[0]["source"]).name == "0.txt"
    [told] = report()
    assert (told["cascade"], told["items"], told["escalated"]) == ("extract", 3, 2)
    assert not list(tmp_path.glob("*.work.db*"))


def test_rows_go_into_a_database(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.db"
    extracted(folder, out, GOOD, GOOD, GOOD)
    connection = sqlite3.connect(out)
    assert connection.execute("SELECT vendor, total FROM rows").fetchall() == [("Kiln", 12.5)] * 3
    connection.close()


def test_a_run_that_broke_off_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    for n in range(3, 12):
        (folder / f"{n:02}.txt").write_text("Vendor: Kiln. A sentence or two.", encoding="utf-8")
    values = {"docs": [str(folder)], "schema": SCHEMA, "out": str(tmp_path / "rows.csv")}
    options: Any = {**THREAD, "max_concurrency": 1}
    saver = InMemorySaver()
    # The pool may have begun another before it hears of the first failure.
    near = ScriptedChatModel([*[GOOD] * 9, *[ConnectionError("gone")] * 3])
    graph = build_extract(near).copy({"checkpointer": saver})
    with pytest.raises(ConnectionError):
        graph.invoke(values, options, durability="sync")
    with ScriptedChatModel([GOOD] * 3) as near:
        graph = build_extract(near).copy({"checkpointer": saver})
        told = graph.invoke(None, options, durability="sync")
    assert told["rows"] == 12


def test_the_built_in_model_takes_values_that_are_named_in_the_text(tmp_path: Path) -> None:
    text = "# Bill\n\n| Vendor | Kiln |\n\nThe total is 12.50 euros. Paid: yes\n\n**Due date:** 2026-05-06\n"
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    schema = {"vendor": "string", "total": "number", "due_date": "date"}
    out = tmp_path / "out.jsonl"
    told = nearfar.workflow("extract").invoke(
        {"docs": [str(tmp_path / "a.md")], "schema": schema, "out": str(out)}
    )
    assert told["failed"] == []
    row = json.loads(out.read_text(encoding="utf-8"))
    assert (row["vendor"], row["total"], row["due_date"]) == ("Kiln", 12.5, "2026-05-06")


@pytest.mark.parametrize("given", ["nothing.yaml", {}, {"a": "complex"}, "json:loads"])
def test_a_schema_that_cannot_be_used_is_told(given: Any) -> None:
    with pytest.raises(UsageError, match="schema"):
        Fields.read(given)


@pytest.mark.parametrize(
    ("answer", "decision", "done"),
    [
        ("approve", "approved", ["Hello"]),
        (True, "approved", ["Hello"]),
        ({"decisions": [{"type": "approve"}]}, "approved", ["Hello"]),
        ({"type": "edit", "text": "Hi"}, "edited", ["Hi"]),
        ({"type": "reject", "message": "too short"}, "rejected", []),
        (False, "rejected", []),
    ],
)
def test_what_is_approved_is_done_and_nothing_else(
    answer: Any, decision: str, done: list[str]
) -> None:
    acted: list[str] = []
    graph = build_approve(act=lambda text, to: acted.append(text)).copy(
        {"checkpointer": InMemorySaver()}
    )
    asked = graph.invoke({"draft": "Hello"}, THREAD)["__interrupt__"][0].value
    assert asked["action_requests"][0]["args"]["text"] == "Hello"
    assert acted == []
    assert graph.invoke(Command(resume="whatever"), THREAD)["__interrupt__"]  # asked again
    assert graph.invoke(Command(resume=answer), THREAD)["decision"] == decision
    assert acted == done


def test_a_model_drafts_what_was_requested(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    with ScriptedChatModel(["Dear Ada"]) as model:
        graph = build_approve(model=model).copy({"checkpointer": InMemorySaver()})
        graph.invoke({"request": "Greet Ada", "to": str(file)}, THREAD, durability="sync")
        graph.invoke(Command(resume="yes"), THREAD, durability="sync")
    assert file.read_text(encoding="utf-8") == "Dear Ada"


@pytest.mark.parametrize(
    "values", [{"to": "x"}, {"draft": "a", "request": "b", "to": "x"}, {"draft": "a"}]
)
def test_approve_needs_a_draft_or_a_request_and_a_place(values: Any) -> None:
    with pytest.raises(UsageError):
        build_approve().invoke(values)
