"""A crew's file from the command line: checked, drawn, described, run."""

import json
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main
from nearfar.testing.fault_server import FaultServer, Reply, SeenRequest, Status, ToolCall

Capsys = pytest.CaptureFixture[str]
CREW = """\
inputs: {topic: {description: What about.}}
roles: {finder: {goal: Find}, writer: {goal: Write}}
tasks:
  find: {description: "When was the {{ topic }} built?", role: finder}
  write: {description: "Write about the {{ topic }}.", role: writer, review: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    place = tmp_path / "pottery.yaml"
    place.write_text(CREW, encoding="utf-8")
    return str(place)


def run(capsys: Capsys, *args: str) -> tuple[int, Any]:
    code = main([*args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_check_says_what_there_is_and_what_is_wrong(file: str, capsys: Capsys) -> None:
    code, out = run(capsys, "crew", "check", file)
    assert (code, out["tasks"]) == (0, {"find": [], "write": ["find"]})
    Path(file).write_text(CREW.replace("role: finder", "role: fnder"), encoding="utf-8")
    code, out = run(capsys, "crew", "check", file)
    assert (code, out["error"]["code"], out["error"]["data"]["line"]) == (2, "NF-580", 4)


def test_it_is_drawn_and_described(file: str, capsys: Capsys) -> None:
    code, out = run(capsys, "crew", "draw", file)
    assert code == 0
    assert "find --> write" in out["mermaid"]
    assert main(["crew", "schema"]) == 0
    assert "roles" in json.loads(capsys.readouterr().out)["properties"]


def test_it_runs_waits_for_the_review_and_shows_its_prompts(file: str, capsys: Capsys) -> None:
    given = ["run", file, "--topic", "kiln", "--show-prompts", "--thread", "t"]
    code, out = run(capsys, *given)
    assert (code, out["status"]) == (3, "waiting")
    assert out["output"]["__interrupt__"][0]["value"]["task"] == "write"
    code, out = run(capsys, "run", file, "--thread", "t", "--resume", '{"edit": "It stands."}')
    assert (code, out["status"], out["output"]["output"]) == (0, "succeeded", "It stands.")
    sent = out["output"]["prompts"]
    assert [entry["task"] for entry in sent] == ["find", "write"]
    assert "When was the kiln built?" in sent[0]["prompt"][-1]["text"]
    assert out["output"]["performance"]["roles"]["writer"]["model_calls"] == 1


LED = """\
process: hierarchical
lead: boss
description: A text about owls.
roles: {boss: {goal: Lead}, finder: {goal: Find}, writer: {goal: Write}}
tasks:
  find: {description: "Find facts.", role: finder}
  write: {description: "Write a text.", role: writer, after: [find]}
"""


def test_a_fault_below_a_lead_is_taken_up_by_the_next_run_of_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    """Over the wire and over the database: what is finished is not asked for again."""
    failing = [True]

    def reply(request: SeenRequest) -> Reply | Status:
        system = request.body["messages"][0]["content"]
        done = [m["tool_call_id"] for m in request.body["messages"] if m["role"] == "tool"]
        if "You are finder" in system:
            return Reply("Owls see at night.")
        if "You are writer" in system:
            return Status(500) if failing else Reply("A text about owls.")
        if len(done) == 2:
            return Reply("All is done.")
        role, task = [("finder", "find"), ("writer", "write")][len(done)]
        call = ToolCall("delegate", {"role": role, "task": task}, id=f"call_{len(done)}")
        return Reply("", tool_calls=[call])

    (tmp_path / "led.yaml").write_text(LED, encoding="utf-8")
    with FaultServer(default=reply) as server:
        settings = {
            "models": {"a": {"provider": "openai-compatible", "model": "a", "api_key": "none",
                             "base_url": server.openai_url}},
            "routers": {"default": {"candidates": ["a"], "retries": 0}},
        }  # fmt: skip
        (tmp_path / "nearfar.yaml").write_text(json.dumps(settings), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        code, out = run(capsys, "run", "led.yaml", "--thread", "t")
        assert code == 1
        assert out["error"]["code"] == "NF-230"
        before = len(server.requests)
        failing.clear()
        code, out = run(capsys, "run", "led.yaml", "--thread", "t")
        after = [r.body["messages"][0]["content"] for r in server.requests[before:]]
    assert (code, out["output"]["output"]) == (0, "All is done.")
    assert len(after) == 2, "the writer and the lead; not the finder again"
    assert out["output"]["tasks"]["find"]["value"] == "Owls see at night."
    assert out["output"]["performance"]["roles"]["finder"]["model_calls"] == 1
