"""``nearfar runs`` and ``nearfar graph``: look at runs, answer them, and go on with them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main

FLOW = """
import os
from pathlib import Path
from typing import TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


class State(TypedDict, total=False):
    question: str
    answer: str


def shout(state):
    return {"answer": state["question"].upper()}


def confirm(state):
    return {"answer": str(interrupt("Are you sure?"))}


def review(state):
    call = {"name": "send", "args": {"to": "Ada"}, "description": "a mail"}
    return {"answer": str(interrupt({"action_requests": [call], "review_configs": []}))}


def mendable(state):
    if not Path(os.environ["NEARFAR_HOME"], "mended").exists():
        raise RuntimeError("the part is missing")
    return {"answer": "mended"}


def one(step):
    return StateGraph(State).add_node(step).add_edge(START, step.__name__)


graph, waits, reviews, fails = one(shout), one(confirm), one(review), one(mendable)
loops = StateGraph(State).add_node("again & again", shout).add_edge(START, "again & again")
loops.add_conditional_edges("again & again", lambda state: "again & again", ["again & again", "__end__"])
"""

EDITED = (
    "{'decisions': [{'type': 'edit', 'edited_action': {'name': 'send', 'args': {'to': 'Bob'}}}]}"
)

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def flow(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(FLOW, encoding="utf-8")
    return str(path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*args: str) -> tuple[int, Any]:
        code = main([*args, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_list_and_show_have_what_others_rely_on(flow: str, command: Command) -> None:
    _, ran = command("run", f"{flow}:graph", "--question", "hi")
    code, listed = command("runs", "list")
    assert (code, [run["id"] for run in listed["runs"]]) == (0, [ran["run_id"]])
    code, shown = command("runs", "show", ran["run_id"][:8])
    assert {
        "id",
        "workflow",
        "thread_id",
        "status",
        "attempt",
        "created_at",
        "updated_at",
        "error",
        "checkpoints",
        "effects",
    } <= set(shown)
    assert (shown["status"], shown["attempt"], shown["error"]) == ("succeeded", 1, None)
    assert [point["step"] for point in shown["checkpoints"]] == [-1, 0, 1]
    assert command("runs", "show", "nothing")[1]["error"]["code"] == "NF-504"


@pytest.mark.parametrize(
    ("graph", "flags", "answer"),
    [
        ("waits", [], "True"),
        ("waits", ["--reject"], "False"),
        ("waits", ["--value", '{"a": 1}'], "{'a': 1}"),
        ("waits", ["--edit", "rather not"], "rather not"),
        ("reviews", [], "{'decisions': [{'type': 'approve'}]}"),
        (
            "reviews",
            ["--reject", "--message", "no"],
            "{'decisions': [{'type': 'reject', 'message': 'no'}]}",
        ),
        ("reviews", ["--edit", '{"to": "Bob"}'], EDITED),
    ],
)
def test_a_waiting_run_is_answered(
    flow: str, command: Command, graph: str, flags: list[str], answer: str
) -> None:
    code, ran = command("run", f"{flow}:{graph}", "--question", "hi")
    assert (code, ran["status"]) == (3, "waiting")
    [waiting] = command("runs", "list", "--status", "waiting")[1]["runs"]
    assert waiting["questions"][0]["id"] == ran["output"]["__interrupt__"][0]["id"]
    code, done = command("runs", "approve", ran["run_id"], *flags)
    assert (code, done["status"], done["output"]["answer"]) == (0, "succeeded", answer)
    assert command("runs", "approve", ran["run_id"])[1]["error"]["code"] == "NF-507"


def test_a_failed_run_is_resumed_when_the_cause_is_mended(
    flow: str, command: Command, home_folder: Path
) -> None:
    code, failed = command("run", f"{flow}:fails", "--question", "hi")
    assert (code, failed["error"]["code"]) == (1, "NF-503")
    run_id = failed["error"]["data"]["run_id"]
    assert run_id in failed["error"]["remedy"]
    assert command("runs", "show", run_id)[1]["error"]["message"] == failed["error"]["message"]
    (home_folder / "mended").touch()
    code, done = command("runs", "resume", run_id)
    assert (code, done["output"]["answer"]) == (0, "mended")


def test_a_run_is_forked_exported_and_pruned(
    flow: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ran = command("run", f"{flow}:graph", "--question", "hi")
    points = command("runs", "show", ran["run_id"])[1]["checkpoints"]
    code, fork = command("runs", "fork", ran["run_id"], "--at", points[1]["id"])
    assert (code, fork["output"]) == (0, ran["output"])
    assert fork["run_id"] != ran["run_id"]
    file = tmp_path / "run.json"
    assert main(["runs", "export", fork["run_id"], "--output", str(file)]) == 0
    exported = json.loads(file.read_text(encoding="utf-8"))
    assert exported["forked_from"] == f"{ran['run_id']}:{points[1]['id']}"
    capsys.readouterr()
    assert command("runs", "prune", "--older-than-days", "0") == (0, {"threads": 2})
    assert command("runs", "list")[1] == {"runs": []}


def test_a_waiting_run_is_cancelled(flow: str, command: Command) -> None:
    _, ran = command("run", f"{flow}:waits", "--question", "hi")
    assert command("runs", "cancel", ran["run_id"])[1]["status"] == "cancelled"
    code, told = command("runs", "watch", ran["run_id"])
    assert (code, told["error"]["code"]) == (1, "NF-509")


def test_a_detached_run_goes_on_without_its_command(
    flow: str, command: Command, cli: Callable[..., Any]
) -> None:
    done = cli("run", f"{flow}:graph", "--question", "hi", "--detach", "--json")
    assert done.rc == 0, done.err
    assert done.json["status"] == "queued"
    code, watched = command("runs", "watch", done.json["run_id"])
    assert (code, watched["output"]["answer"]) == (0, "HI")


def test_a_workflow_is_drawn_as_text_and_as_pictures(
    flow: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", "draw", "ask"]) == 0
    assert "condense --> retrieve" in capsys.readouterr().out
    for name, start in (("g.svg", b"<svg "), ("g.png", b"\x89PNG")):
        assert main(["graph", "draw", f"{flow}:loops", "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert "again &amp; again" in (tmp_path / "g.svg").read_text(encoding="utf-8")
    assert main(["graph", "draw", "ask", "--format", "png"]) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_whose_program_was_killed_is_resumed(
    tmp_path: Path, command: Command, home_folder: Path
) -> None:
    path = tmp_path / "slow.py"
    text = FLOW.replace(
        'if not Path(os.environ["NEARFAR_HOME"], "mended").exists():\n'
        '        raise RuntimeError("the part is missing")',
        'Path(os.environ["NEARFAR_HOME"], "begun").touch()\n'
        '    while not Path(os.environ["NEARFAR_HOME"], "mended").exists(): pass',
    )
    path.write_text(text, encoding="utf-8")
    program = [sys.executable, "-m", "nearfar", "run", f"{path}:fails", "--question", "hi"]
    with subprocess.Popen(program) as process:
        deadline = time.monotonic() + 60
        while not (home_folder / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    [run] = command("runs", "list")[1]["runs"]
    assert run["status"] == "running"
    (home_folder / "mended").touch()
    code, done = command("runs", "resume", run["id"])
    assert (code, done["output"]["answer"]) == (0, "mended")
    assert command("runs", "show", run["id"])[1]["attempt"] == 2
