"""``extract``: rows by a schema, checked, at most once to a better model, and kept as they are made."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from langgraph.checkpoint.memory import InMemorySaver

import nearfar
from nearfar.errors import (
    BudgetExhaustedError,
    ContextTooLongError,
    DatabaseError,
    UsageError,
    WorkflowError,
)
from nearfar.graphs import extract
from nearfar.graphs.cascades import report
from nearfar.graphs.extract import build_extract
from nearfar.graphs.fields import Fields, found_in
from nearfar.testing import ScriptedChatModel

THREAD: Any = {"configurable": {"thread_id": "t"}}
SCHEMA = {"vendor": "string", "total": "number"}
GOOD = '{"vendor": "Kiln", "total": 12.5}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(3):
        (docs / f"{n}.txt").write_text(f"The bill number {n} of the kiln.", encoding="utf-8")
    return docs


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


BROKEN = [
    *("nothing.yaml", {}, {"a": "complex"}, "json:loads"),
    {"properties": {}},
    {"properties": {"a": {"type": "strnig"}}},
    {"properties": {"a": True}},
    {"type": "array", "properties": {"a": {}}},
]


@pytest.mark.parametrize("given", BROKEN)
def test_a_schema_that_cannot_be_used_is_told(given: Any) -> None:
    with pytest.raises(UsageError, match="schema"):
        Fields.read(given)


@pytest.mark.parametrize(
    ("text", "number", "integer"),
    [
        ("12.50 euros", 12.5, None),
        ("3,5", 3.5, None),
        ("1,234", 1234.0, 1234),
        ("1.234,50", 1234.5, None),
        ("-1'234.50", -1234.5, None),
        ("1.234.567", 1234567.0, 1234567),
        ("12 345 bricks", 12345.0, 12345),
        ("0,500", 0.5, None),
        ("12.0", 12.0, 12),
        ("12.05.2026", None, None),
        ("none", None, None),
    ],
)
def test_numbers_are_read_as_people_of_many_countries_write_them(
    text: str, number: float | None, integer: int | None
) -> None:
    fields = Fields.read({"total": "number", "count": "integer"})
    row = found_in(f"Total: {text}\nCount: {text}", [], fields)
    assert (row.get("total"), row.get("count")) == (number, integer)


@pytest.mark.parametrize(
    ("out", "schema", "error"),
    [
        ("rows.xls", SCHEMA, UsageError),
        ("docs.csv", SCHEMA, UsageError),
        ("rows.csv", {"source": "string"}, UsageError),
        ("rows.db", {"total": "number", "Total": "number"}, UsageError),
        ("other.db", SCHEMA, DatabaseError),
    ],
)
def test_an_output_that_cannot_be_written_in_the_end_is_refused_before_the_first_document(
    folder: Path, tmp_path: Path, out: str, schema: Any, error: type[Exception]
) -> None:
    (tmp_path / "docs.csv").mkdir()
    (tmp_path / "other.db").write_text("something else", encoding="utf-8")
    with ScriptedChatModel([]) as model, pytest.raises(error):
        build_extract(model).invoke(
            {"docs": [str(folder)], "schema": schema, "out": str(tmp_path / out)}
        )


def test_what_is_wrong_with_one_document_stops_no_other(folder: Path, tmp_path: Path) -> None:
    (folder / "empty.txt").touch()
    (folder / "junk.md").write_bytes(bytes(range(256)) * 9)
    (folder / "latin.txt").write_bytes("Die Rechnung für Öl.".encode("latin-1"))
    replies: Any = [
        GOOD,
        ContextTooLongError("too long"),
        "no JSON",
        '{"vendor": "x", "total": NaN}',
    ]
    told = extracted(folder, tmp_path / "rows.jsonl", *replies)
    reasons = {Path(one["source"]).name: one["reason"] for one in told["failed"]}
    assert told["rows"] == 1
    assert reasons == {
        "1.txt": "too long",
        "2.txt": "it is not JSON",
        "empty.txt": "is empty.",
        "junk.md": "is not text.",
        "latin.txt": "it is not JSON",
    }


def test_a_budget_that_is_used_up_stops_the_run_and_escalates_nothing(
    folder: Path, tmp_path: Path
) -> None:
    values = {"docs": [str(folder)], "schema": SCHEMA, "out": str(tmp_path / "rows.csv")}
    near = ScriptedChatModel([BudgetExhaustedError("no money")] * 3)
    with ScriptedChatModel([]) as far, pytest.raises(BudgetExhaustedError):
        build_extract(near, far).invoke(values)


def test_a_run_that_was_overtaken_leaves_the_later_ones_rows_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "AT_ONCE", 1)
    out = tmp_path / "rows.jsonl"
    values = {"docs": [str(folder)], "schema": SCHEMA, "out": str(out)}
    options: Any = {**THREAD, "max_concurrency": 1}
    broken = build_extract(ScriptedChatModel([GOOD, ConnectionError("gone"), GOOD]))
    first = broken.copy({"checkpointer": InMemorySaver()})
    with pytest.raises(ConnectionError):
        first.invoke(values, options, durability="sync")
    extracted(folder, out, GOOD, GOOD, GOOD)
    with pytest.raises(WorkflowError, match="another run's"):
        first.invoke(None, options, durability="sync")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


def started(home: Path, *command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "nearfar", *command],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "EXTRACT_LOG": str(home / "log")},
        stdout=subprocess.PIPE,
    )


def logged(home: Path) -> list[str]:
    log = home / "log"
    return log.read_text(encoding="utf-8").split() if log.exists() else []


async def the_only_run() -> str:
    async with nearfar.Runner(work=False) as runner:
        [run] = await runner.list()
    return run.id


@pytest.mark.parametrize(
    ("files", "kills"), [(60, 1), pytest.param(3000, 5, marks=[pytest.mark.long])]
)
def test_kills_lose_nothing_and_repeat_only_what_was_under_way(
    home_folder: Path, tmp_path: Path, files: int, kills: int
) -> None:
    docs, out = tmp_path / "docs", tmp_path / "rows.csv"
    docs.mkdir()
    for n in range(files):
        (docs / f"{n:05}.txt").write_text(f"Vendor: Kiln {n}\nTotal: {n},50\n", encoding="utf-8")
    schema = json.dumps(SCHEMA)
    command = ["run", "tests/graphs/extract_flow.py:graph", "--json", "--schema", schema]
    command += ["--docs", str(docs), "--out", str(out)]
    peak = 0
    for kill in range(1, kills + 1):
        process = started(tmp_path, *command)
        while len(logged(tmp_path)) < files * kill // (kills + 1):
            assert process.poll() is None
            time.sleep(0.05)
        peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        process.kill()
        process.communicate()
        command = ["runs", "resume", asyncio.run(the_only_run()), "--json"]
    told = json.loads(started(tmp_path, *command).communicate()[0])
    assert (told["output"]["rows"], told["output"]["failed"]) == (files, [])
    rows = out.read_text(encoding="utf-8").splitlines()[1:]
    assert [float(row.rpartition(",")[2]) for row in rows] == [n + 0.5 for n in range(files)]
    asked = Counter(logged(tmp_path))
    assert len(asked) == files
    assert sum(asked.values()) <= files + kills * extract.AT_ONCE
    assert (home_folder / "nearfar.db").stat().st_size < 20_000_000
    assert peak < 400_000_000
