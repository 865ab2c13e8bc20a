"""``nearfar schedule``: what it prints, what it refuses, and that its runs are runs like others."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli import schedule
from nearfar.cli.main import main

FLOW = """
from typing import TypedDict

from langgraph.graph import START, StateGraph


class Question(TypedDict):
    question: str


class State(TypedDict, total=False):
    question: str
    answer: str


def shout(state):
    return {"answer": state["question"].upper()}


print("loading the flow")
graph = StateGraph(State, input_schema=Question).add_node(shout).add_edge(START, "shout")
"""

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "./flow.py:graph"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*args: str) -> tuple[int, Any]:
        code = main(["schedule", *args, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_a_schedule_is_added_listed_paused_and_removed(
    flow: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = ("--workflow", flow, "--cron", "30 8 * * mon-fri", "--tz", "Europe/Berlin")
    code, added = command("add", "report", *rule, "--question", "hi", "--priority", "normal")
    assert code == 0
    assert added["next_at"][10:19] == "T08:30:00"
    assert (added["tz"], added["input"], added["priority"]) == (
        "Europe/Berlin",
        {"question": "hi"},
        "normal",
    )
    assert command("list") == (0, {"schedules": [added]})
    assert command("pause", "report")[1]["next_at"] is None
    assert command("show", "report")[1]["paused"] is True
    assert command("resume", "report")[1] == added
    assert main(["schedule", "list"]) == 0
    shown = capsys.readouterr().out
    assert "report" in shown
    assert "30 8 * * mon-fri Europe/Berlin" in shown
    assert command("remove", "report") == (0, {"removed": "report"})
    assert command("list") == (0, {"schedules": []})


def test_a_schedule_that_nobody_looks_at_is_told(
    flow: str, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("add", "a", "--workflow", flow, "--every", "1h", "--question", "hi")
    assert command("show", "a")[1]["overdue"] is False
    later = time.time() + 3700
    monkeypatch.setattr(time, "time", lambda: later)
    assert command("show", "a")[1]["overdue"] is True
    assert main(["schedule", "list"]) == 0
    assert "nearfar worker" in capsys.readouterr().out


def test_the_input_comes_from_a_file_too(flow: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"question": "from a file"}', encoding="utf-8")
    _, added = command("add", "a", "--workflow", flow, "--every", "1h30m", "--input", "input.json")
    assert (added["every_s"], added["input"]) == (5400, {"question": "from a file"})


def test_a_run_at_once_is_a_run_like_others(
    flow: str,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apart: list[str] = []
    monkeypatch.setattr(schedule, "work_apart", apart.append)
    command("add", "a", "--workflow", flow, "--every", "1d", "--question", "hi")
    code, started = command("run-now", "a")
    assert (code, started["status"], apart) == (0, "queued", [started["run_id"]])
    code, refused = command("run-now", "a")
    assert (code, refused["error"]["code"]) == (1, "NF-533")
    assert main(["runs", "work", started["run_id"]]) == 0
    capsys.readouterr()
    assert main(["runs", "show", started["run_id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "succeeded"
    assert command("show", "a")[1]["last_run_id"] == started["run_id"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--every", "15m"], "NF-502", "question"),
        (["--every", "15m", "--question", "hi", "--more", "1"], "NF-502", "more"),
        (["--every", "15x", "--question", "hi"], "NF-532", "15x"),
        (["--cron", "0 99 * * *", "--question", "hi"], "NF-532", "hour"),
        (["--cron", "0 9 * * *", "--tz", "Nowhere", "--question", "hi"], "NF-532", "Nowhere"),
        (["--question", "hi"], "NF-002", "--cron"),
        (["--every", "1h", "--cron", "0 9 * * *", "--question", "hi"], "NF-002", "--cron"),
        (["--every", "1h", "--misfire", "never", "--question", "hi"], "NF-532", "never"),
    ],
)
def test_what_cannot_work_is_refused(
    flow: str, command: Command, args: list[str], code: str, said: str
) -> None:
    exit_code, told = command("add", "a", "--workflow", flow, *args)
    assert exit_code == 2
    assert told["error"]["code"] == code
    assert said in told["error"]["message"]


def test_an_unknown_workflow_and_an_unknown_schedule_are_told(command: Command) -> None:
    code, told = command("add", "a", "--workflow", "summarise", "--every", "1h")
    assert (code, told["error"]["code"]) == (2, "NF-501")
    assert "summarize" in told["error"]["remedy"]
    for name in ("show", "pause", "resume", "remove", "run-now"):
        code, told = command(name, "nothing")
        assert (code, told["error"]["code"]) == (2, "NF-530")
