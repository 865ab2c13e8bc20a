"""nearfar runs reconcile: a person says what became of an effect, and the run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main

FLOW = """
from pathlib import Path
from typing import TypedDict
from langgraph.graph import START, StateGraph
import nearfar

class State(TypedDict, total=False):
    to: str
    got: str

@nearfar.effect()
def send(to: str) -> str:
    sent = Path("sent.txt")
    sent.write_text((sent.read_text() if sent.exists() else "") + to)
    if sent.read_text().count(to) == 1:
        raise RuntimeError("the answer was lost")
    return "second"

graph = StateGraph(State).add_node("step", lambda state: {"got": send(state["to"])})
graph.add_edge(START, "step")
"""


@pytest.mark.parametrize(
    ("said", "got"), [(["--done", "by hand"], "by hand"), (["--not-done"], "second")]
)
def test_a_run_in_doubt_is_settled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: list[str],
    got: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow.py").write_text(FLOW, encoding="utf-8")

    def told(*args: str) -> tuple[int, Any]:
        code = main([*args, "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, failed = told("run", "flow.py", "--to", "x")
    assert (code, failed["error"]["code"]) == (1, "NF-520")
    _, listed = told("runs", "list", "--status", "reconcile")
    run_id = listed["runs"][0]["id"]
    _, shown = told("runs", "show", run_id)
    assert [(e["name"], e["status"]) for e in shown["effects"]] == [("send", "unknown")]
    code, wrong = told("runs", "reconcile", run_id)
    assert (code, wrong["error"]["code"]) == (2, "NF-002")
    code, done = told("runs", "reconcile", run_id, *said)
    assert (code, done["output"]["got"]) == (0, got)
    assert Path("sent.txt").read_text(encoding="utf-8") == "x" * (1 if got == "by hand" else 2)
    code, over = told("runs", "reconcile", run_id, *said)
    assert (code, over["error"]["code"]) == (2, "NF-507")
