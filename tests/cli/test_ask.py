"""``nearfar ask``: the answer for people and for programs, and what happens to bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli.main import main


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "kiln.md").write_text(
        "# Kiln\n\nThe kiln was built in 1962. It burns gas and holds forty bowls.\n",
        encoding="utf-8",
    )
    (tmp_path / "lamps.md").write_text(
        "# Lamps\n\nThe green lamp is lit when the kiln has reached 900 degrees.\n",
        encoding="utf-8",
    )
    return folder


Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(notes: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*args: str) -> tuple[int, str, str]:
        code = main(["ask", *args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_people_get_the_answer_and_its_sources(ask: Ask) -> None:
    code, out, err = ask("When was the kiln built?", "--docs", "papers")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "The kiln was built in 1962. [1]"
    assert lines[2] == f"[1] {Path('papers') / 'kiln.md'}, Kiln"
    assert lines[3] == '    "The kiln was built in 1962."'


def test_a_terminal_gets_the_words_as_they_come_and_the_answer_once(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, out, _ = ask("When was the kiln built?", "--docs", "papers")
    assert out.count("The kiln was built in 1962. [1]") == 1
    assert out.startswith("The kiln was built in 1962. [1]\n\n[1] ")


def test_programs_get_exactly_the_promised_object(ask: Ask, notes: Path) -> None:
    code, out, _ = ask("When was the kiln built?", "--docs", "papers", "--json")
    result = json.loads(out)
    assert code == 0
    assert list(result) == [
        "answer",
        "answered",
        "citations",
        "confidence",
        "model",
        "usage",
        "timings",
    ]
    assert result["citations"][0]["source"] == str(notes / "kiln.md")


@pytest.mark.parametrize(
    "docs", [["--docs", "papers", "lamps.md"], ["--docs", "papers", "--docs", "lamps.md"]]
)
def test_docs_takes_several_paths(ask: Ask, docs: list[str]) -> None:
    _, out, _ = ask("When is the green lamp lit?", *docs)
    assert out.startswith("The green lamp is lit when the kiln has reached 900 degrees. [1]")


def test_documents_that_do_not_answer_are_no_error(ask: Ask) -> None:
    code, out, _ = ask("Who wrote Moby-Dick?", "--docs", "papers", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["answered"], result["citations"]) == (False, [])


def test_a_thread_remembers_question_and_documents(ask: Ask) -> None:
    ask("When was the kiln built?", "--docs", "papers", "--thread", "t")
    code, out, _ = ask("How many bowls does it hold?", "--thread", "t", "--json")
    assert code == 0
    assert "forty bowls" in json.loads(out)["answer"]


def test_run_asks_the_same_workflow(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    question = ["--question", "When was the kiln built?"]
    assert main(["run", "ask", *question, "--docs", "papers", "lamps.md", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"]["answer"] == "The kiln was built in 1962. [1]"
    assert result["cost_usd"] == 0.0
    assert result["usage"]["input_tokens"] == result["output"]["usage"]["input_tokens"]


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["Why?"], 2, "NF-002"),
        (["", "--docs", "papers"], 2, "NF-002"),
        (["Why?", "--docs", "papers", "--index", "lab"], 2, "NF-002"),
        (["Why?", "stray", "--index", "lab"], 2, "NF-002"),
        (["Why?", "--docs", "no-such-folder"], 2, "NF-301"),
        (["Why?", "--docs", "empty"], 2, "NF-302"),
        (["Why?", "--index", "lab"], 2, "NF-310"),
        (["Why?", "--docs", "papers", "--model", "bulitin"], 2, "NF-201"),
        (["why " * 5000, "--docs", "papers"], 1, "NF-204"),
        (["Why?", "--docs", "papers", "--mode", "loud"], 2, "NF-002"),
    ],
)
def test_bad_input_is_a_clear_error(
    ask: Ask, notes: Path, args: list[str], code: int, error: str
) -> None:
    (notes.parent / "empty").mkdir()
    found, out, _ = ask(*args, "--json")
    told: Any = json.loads(out)["error"]
    assert (found, told["code"]) == (code, error)
    assert told["remedy"]
