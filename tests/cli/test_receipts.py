"""`nearfar receipts` and `nearfar route --explain`: what routers decided, and why."""

from pathlib import Path

import pytest

from tests.conftest import Cli


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> None:
    (tmp_path / "nearfar.yaml").write_text(
        """\
models:
  lab: {provider: openai-compatible, base_url: "http://127.0.0.1:9/v1", model: m, api_key: none}
  near: {}
routers:
  default: {candidates: [lab, near]}
privacy: {keep_near: [email]}
"""
    )


def test_a_receipt_is_explained_listed_shown_and_replayed(cli: Cli) -> None:
    told = cli("route", "Write to anna@example.com", "--explain")
    assert "1 email found" in told.out
    assert "The request is private: 1 email." in told.out
    [line] = cli("receipts", "list", "--json").json["receipts"]
    assert (line["router"], line["answered_by"], line["local"]) == ("default", "near", True)
    assert line["id"] in cli("receipts", "list").out
    shown = cli("receipts", "show", line["id"], "--json").json["receipt"]
    assert shown["inputs"]["private"] is True
    again = cli("receipts", "replay", line["id"][:10], "--json").json
    assert (again["order"], again["first"], again["same"]) == (["near"], "near", True)
    assert list(again["passed_over"]) == ["lab"]


def test_one_that_is_not_there_is_a_usage_error(cli: Cli) -> None:
    assert cli("receipts", "list").out == "There are no receipts yet.\n"
    done = cli("receipts", "show", "0123", "--json")
    assert (done.rc, done.json["error"]["data"]) == (2, {"id": "0123"})
