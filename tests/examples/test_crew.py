"""The example crew runs as a file, offline, and answers from the documents."""

import json
from pathlib import Path

import pytest

from nearfar.agents.crew import load_crew
from nearfar.cli.main import main
from nearfar.retrieval import Index

FILE = Path(__file__).parents[2] / "examples" / "crew.yaml"


def test_it_answers_from_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kiln.md").write_text("# Kiln\n\nThe kiln was built in 1962. It burns gas.\n")
    Index.open("kiln", create=True).add([tmp_path])
    code = main(["run", str(FILE), "--question", "When was the kiln built?", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert "The kiln was built in 1962." in result["output"]["output"]
    assert result["cost_usd"] == 0.0


def test_its_tasks_are_in_order() -> None:
    assert load_crew(FILE).needs("check") == ["find"]
