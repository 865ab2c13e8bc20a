"""The examples of routing run as programs, and do what they say."""

import importlib
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def output(
    name: str, *args: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr(sys, "argv", [name, *args])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_a_letter_with_personal_data_is_not_worded_in_the_cloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = output("hybrid", monkeypatch=monkeypatch, capsys=capsys)
    open_, private = said.split("I am at ")
    assert "worded by: cloud" in open_
    assert "Invoices are sent on the first working day of each month. [1]" in private
    assert "worded by: near" in private


def test_threads_are_shared_out_and_the_better_model_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = output("ab_test", "--threads", "24", monkeypatch=monkeypatch, capsys=capsys)
    table = {line.split()[0]: line.split()[1:] for line in said.splitlines()[1:]}
    assert int(table["new"][0]) + int(table["old"][0]) == 24
    assert (table["new"][1], table["old"][1]) == ("100%", "50%")


def test_a_policy_of_ones_own_chooses_by_room_and_price(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["custom_policy"])
    importlib.import_module("custom_policy").main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["small", "large"]
