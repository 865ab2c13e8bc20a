"""The example graph runs as a file, with its inputs as flags, and with any model."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from nearfar.cli.main import main
from nearfar.testing import ScriptedChatModel

FILE = Path(__file__).parents[2] / "examples" / "research.py"


@pytest.fixture
def docs(tmp_path: Path) -> str:
    (tmp_path / "kiln.md").write_text("The kiln was built in 1962.\n", encoding="utf-8")
    return str(tmp_path)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("research_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_model_gets_the_passages(docs: str) -> None:
    with ScriptedChatModel(["Built in 1962."]) as model:
        result = load().build(model).compile().invoke({"topic": "kiln", "docs": [docs]})
    assert result["note"] == "Built in 1962."
    assert "[1] " in model.calls[0].text
    assert "The kiln was built in 1962." in model.calls[0].text


def test_it_runs_from_the_command_line(docs: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", str(FILE), "--topic", "kiln", "--docs", docs, "--passages", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert result["output"]["note"]
    assert result["cost_usd"] == 0.0
    assert result["usage"]["output_tokens"] > 0


def test_its_inputs_are_checked(docs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(FILE), "--docs", docs, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["data"]["fields"] == ["topic"]
