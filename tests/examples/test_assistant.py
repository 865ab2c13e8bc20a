"""The example asks before it sends, and runs on the built-in model."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.messages import AIMessage

from nearfar.testing import ScriptedChatModel

FILE = Path(__file__).parents[2] / "examples" / "assistant.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("assistant_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("approve", [True, False])
def test_a_letter_is_sent_only_when_a_person_agrees(example: ModuleType, *, approve: bool) -> None:
    call = {"name": "send_letter", "args": {"to": "Bob"}, "id": "1", "type": "tool_call"}
    with ScriptedChatModel([AIMessage("", tool_calls=[call]), "Done."]) as model:
        assert example.ask(example.build(model), "Write to Bob", approve=approve) == "Done."
    assert (example.SENT == ["Bob"]) == approve


def test_it_runs_offline(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    out = capsys.readouterr().out
    assert "84" in out
    assert "Ada does not eat meat." in out
