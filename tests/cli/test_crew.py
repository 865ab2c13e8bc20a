"""A crew's file from the command line: checked, drawn, described, run."""

import json
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main

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
