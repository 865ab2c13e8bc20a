"""`nearfar prompts`: one JSON object, and an exit code that says whether all is well."""

import json
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "greet.md").write_text(
        "---\nname: greet\nvariables:\n  names: {type: list}\n---\nGreet {{ names | words }}.\n"
    )
    monkeypatch.setenv("NEARFAR__PROMPTS__FOLDER", str(folder))
    return folder


def run(capsys: Capsys, *args: str) -> tuple[int, Any]:
    code = main(["prompts", *args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_list_shows_ours_and_your_own(own: Path, capsys: Capsys) -> None:
    code, out = run(capsys, "list")
    rows = {row["name"]: row for row in out["prompts"]}
    assert code == 0
    assert rows["greet"]["origin"] == "own"
    assert rows["crew/task"]["origin"] == "built-in"


def test_show_says_what_to_fill_in(own: Path, capsys: Capsys) -> None:
    code, out = run(capsys, "show", "greet")
    assert code == 0
    assert out["prompt"]["variables"]["names"]["type"] == "list"
    assert out["prompt"]["variables"]["names"]["required"] is True


def test_render_fills_it_in(own: Path, capsys: Capsys) -> None:
    code, out = run(capsys, "render", "greet", "--var", "names=Ada, Bo")
    assert code == 0
    assert out["messages"] == [{"role": "user", "text": "Greet Ada, Bo."}]


def test_render_without_a_value_is_a_usage_error(own: Path, capsys: Capsys) -> None:
    code, out = run(capsys, "render", "greet")
    assert code == 2
    assert out["error"]["code"] == "NF-573"


def test_check_fails_on_warnings_and_on_broken_files(own: Path, capsys: Capsys) -> None:
    code, out = run(capsys, "check", "crew/task")
    assert (code, out["ok"]) == (0, True)
    code, out = run(capsys, "check", "greet")
    assert (code, out["ok"]) == (1, False)
    assert "no-output-format" in {f["rule"] for f in out["prompts"][0]["findings"]}
    (own / "greet.md").write_text("---\nname: greet\n---\n{{ x }}")
    code, out = run(capsys, "check")
    broken = [row for row in out["prompts"] if row["error"]]
    assert (code, broken[0]["error"]["data"]["line"]) == (1, 4)


def test_an_unknown_prompt_is_a_usage_error(capsys: Capsys) -> None:
    code, out = run(capsys, "show", "crew/taks")
    assert code == 2
    assert "crew/task" in out["error"]["message"]
