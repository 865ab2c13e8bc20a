"""``nearfar run``: flags from the schema, one JSON object, the exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main
from nearfar.cli.run import Screen
from nearfar.graphs.runtime.events import RunEvent

GRAPH_FILE = """
import os
import sys
import time
from typing import Literal, TypedDict

from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from nearfar.testing import ScriptedChatModel


class State(TypedDict):
    question: str
    answer: str


class Wanted(TypedDict, total=False):
    question: str
    count: int
    tags: list[str]
    deep: bool
    mode: Literal["fast", "slow"]


class Reply(TypedDict):
    answer: str


def shout(state):
    return {"answer": state["question"].upper()}


def tell(state: Wanted):
    return {"answer": repr({k: v for k, v in sorted(state.items())})}


def confirm(state):
    return {"answer": interrupt("Are you sure?")}


def boom(state):
    raise ValueError("bad luck")


async def chat(state):
    model = ScriptedChatModel(["Hello there, friend."])
    return {"messages": [await model.ainvoke(state["messages"])]}


def one(step, state=State, **kwargs):
    builder = StateGraph(state, **kwargs).add_node(step)
    return builder.add_edge(START, step.__name__)


def prints(state):
    print("from Python")
    os.system("echo from below")
    return {"answer": "quiet"}


def leaves(state):
    sys.exit(7)


def sleeps(state):
    print("asleep", flush=True)
    time.sleep(600)


graph = one(shout)
chatty = one(prints)
exits = one(leaves)
slow = one(sleeps)
typed = one(tell, input_schema=Wanted, output_schema=Reply)
waits = one(confirm)
fails = one(boom)
talks = one(chat, MessagesState)


@entrypoint()
def scalar(text: str) -> str:
    return text.upper()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flow.py"
    path.write_text(GRAPH_FILE, encoding="utf-8")
    return path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(file: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(attribute: str, *args: str) -> tuple[int, str, str]:
        code = main(["run", f"{file}:{attribute}", *args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_json_is_exactly_the_promised_object(run: Run) -> None:
    code, out, _ = run("graph", "--question", "hi", "--json")
    result = json.loads(out)
    assert code == 0
    assert list(result) == ["run_id", "thread_id", "status", "output", "usage", "cost_usd"]
    assert result["status"] == "succeeded"
    assert result["output"] == {"question": "hi", "answer": "HI"}
    assert result["cost_usd"] == 0.0


@pytest.mark.parametrize(
    ("args", "values"),
    [
        (["--count", "-3"], {"count": -3}),
        (["--count=4", "--question=a b"], {"count": 4, "question": "a b"}),
        (["--tags", "a", "b", "--count", "1"], {"tags": ["a", "b"], "count": 1}),
        (["--tags", "a", "--tags", "b"], {"tags": ["a", "b"]}),
        (["--tags", '["a", "b"]'], {"tags": ["a", "b"]}),
        (["--deep", "--count", "1"], {"deep": True, "count": 1}),
        (["--no-deep"], {"deep": False}),
        (["--deep", "false"], {"deep": False}),
        (["--question", "json", "--mode", "slow"], {"question": "json", "mode": "slow"}),
    ],
)
def test_flags_become_typed_inputs(run: Run, args: list[str], values: dict[str, Any]) -> None:
    code, out, err = run("typed", *args)
    assert (code, err) == (0, "")
    assert json.loads(out)["answer"] == repr(dict(sorted(values.items())))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--count", "x"], "'x' is not an integer"),
        (["--count"], "count cannot be used: it needs a value"),
        (["--mode", "quick"], "mode"),
        (["--quesion", "x"], "no input 'quesion'"),
        (["stray"], "'stray' stands where a flag is expected"),
        (["--input", "missing.json"], "cannot be read"),
        (["--input", '{"question": '], "What --input says cannot be used: it is not JSON"),
        (["--resume", "x"], "--resume answers a thread"),
    ],
)
def test_wrong_arguments_are_a_usage_error(run: Run, args: list[str], message: str) -> None:
    code, out, err = run("typed", *args)
    assert (code, out) == (2, "")
    assert message in err


def test_input_comes_from_a_file_and_flags_win(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"question": "a", "count": 1}', encoding="utf-8")
    for given in (str(path), path.read_text(encoding="utf-8")):
        _, out, _ = run("typed", "--input", given, "--count", "2")
        assert json.loads(out)["answer"] == "{'count': 2, 'question': 'a'}"
    path.write_text("{", encoding="utf-8")
    code, _, err = run("typed", "--input", str(path))
    assert code == 2
    assert "it is not JSON" in err


def test_an_input_that_is_no_object_comes_from_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_text('"hello"', encoding="utf-8")
    assert run("scalar", "--input", str(path))[:2] == (0, "HELLO\n")
    code, _, err = run("scalar", "--input", str(path), "--text", "x")
    assert (code, "no input 'text'" in err) == (2, True)


def test_help_lists_the_inputs_of_the_workflow(run: Run) -> None:
    code, out, _ = run("typed", "--help")
    assert code == 0
    for part in ("--count integer", "--tags string...", "--mode fast|slow", "--deep boolean"):
        assert part in out


def test_help_without_a_workflow_is_the_commands_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    assert "--thread" in capsys.readouterr().out


def test_without_a_workflow_the_known_ones_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--question", "x"]) == 2
    assert "Known: approve, ask" in capsys.readouterr().err


def test_an_unknown_workflow_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "aks", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "NF-501"
    assert "ask" in error["remedy"]


def test_a_waiting_run_exits_with_3_shows_the_question_and_takes_the_answer(run: Run) -> None:
    code, _, err = run("waits", "--question", "x", "--thread", "t")
    assert code == 3
    assert "Waiting for an answer: Are you sure?" in err
    code, out, _ = run("waits", "--thread", "t", "--resume", "quite", "--json")
    assert code == 0
    assert json.loads(out)["output"]["answer"] == "quite"


def test_a_failing_step_is_named_with_its_reason(run: Run) -> None:
    code, out, _ = run("fails", "--question", "x", "--json")
    error = json.loads(out)["error"]
    assert code == 1
    assert error["code"] == "NF-503"
    assert error["message"] == "The step 'boom' failed: ValueError: bad luck"
    assert error["data"]["step"] == "boom"


def test_what_a_step_prints_stays_out_of_the_json(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"{file}:chatty", "--question", "x", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["output"]["answer"] == "quiet"
    assert "from Python\n" in err
    assert "from below\n" in err


def test_a_step_that_ends_the_program_is_a_failed_step(run: Run) -> None:
    code, out, _ = run("exits", "--question", "x", "--json")
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (1, "NF-503")
    assert "exit code 7" in error["message"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one child")
def test_ctrl_c_does_not_wait_for_a_step_that_blocks(file: Path) -> None:
    command = [sys.executable, "-m", "nearfar", "run", f"{file}:slow", "--question", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130


def test_a_reader_that_goes_away_from_a_stream_is_no_failed_step(file: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "nearfar", "run", f"{file}:talks", "--messages", "hi"]
    try:
        done = subprocess.run(
            [*command, "--stream"], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert b"Error" not in done.stderr


def test_stream_prints_the_words_of_the_model(run: Run) -> None:
    code, out, err = run("talks", "--messages", "hi", "--stream")
    assert (code, out) == (0, "Hello there, friend.\n")
    assert "chat" in err


def test_stream_with_json_keeps_standard_output_to_the_object(run: Run) -> None:
    _, out, err = run("talks", "--messages", "hi", "--stream", "--json")
    messages = json.loads(out)["output"]["messages"]
    assert messages[-1]["content"] == "Hello there, friend."
    assert "chat" in err


def test_messages_of_a_thread_add_up(run: Run) -> None:
    run("talks", "--messages", "hi", "--thread", "t")
    _, out, _ = run("talks", "--messages", "again", "--thread", "t", "--json")
    messages = [m["content"] for m in json.loads(out)["output"]["messages"]]
    assert messages == ["hi", "Hello there, friend.", "again", "Hello there, friend."]


def test_input_from_standard_input_in_a_process_of_its_own(
    file: Path, cli: Callable[..., Any]
) -> None:
    done = cli("run", f"{file}:graph", "--input", "-", "--json", input='{"question": "ünï"}')
    assert done.rc == 0, done.err
    assert done.json["output"]["answer"] == "ÜNÏ"
    assert done.err == ""


def test_a_run_says_how_far_it_is_but_not_more_than_once_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    listener = Screen(stream=True, as_json=True, clock=lambda: now[0]).listener()
    for number in range(6):
        now[0] += 0.4
        listener.hear(RunEvent("step", {"name": "one", "done": False}))
        if number > 2:
            listener.hear(RunEvent("custom", {"extracted": number, "of": 6, "error": None}))
    assert capsys.readouterr().err == "one ...\none ...\nextracted 3 of 6\n"
