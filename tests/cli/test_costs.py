"""`nearfar costs`: what was used and spent, as people and programs read it."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from nearfar.cli.main import main
from nearfar.llm.money import Budget, Claim, Entry, Ledger, Reservation
from nearfar.settings import Settings
from nearfar.storage.outcomes import CascadeLog, Row
from tests.conftest import Cli

CONFIG = """\
budgets:
  daily: {limit_usd: 5, per: day, on_exhausted: local}
  each: {limit_usd: "0.5", per: run}
"""


@pytest.fixture
def used(home_folder: Path) -> None:
    ledger = Ledger.open(Settings())
    noon = 1_767_268_800.0  # 2026-01-01
    for day in range(2):
        at = noon + day * 86_400
        ledger.record(Entry("far", "openai", 100, 20, Decimal("0.000000123"), "x", at=at))
        ledger.record(Entry("near", "local", 10, 5, Decimal(0), "local", run_id="r1", at=at))
    ledger.record(Entry("odd", "openai", 7, 3, None, outcome="broken", at=noon))
    ledger.close()


def test_json_has_a_row_for_each_model_and_the_total(cli: Cli, used: None) -> None:
    done = cli("costs", "--json")
    assert done.rc == 0
    assert done.json == {
        "rows": [
            row("far", 2, 200, 40, 0.000000246),
            row("near", 2, 20, 10, 0.0),
            row("odd", 0, 7, 3, 0.0),
        ],
        "total_usd": 0.000000246,
    }
    assert "1 calls are not in the costs" in done.err


def row(model: str, requests: int, prompt: int, output: int, cost: float) -> dict[str, object]:
    return {
        "model": model,
        "requests": requests,
        "input_tokens": prompt,
        "output_tokens": output,
        "cost_usd": cost,
    }


def test_days_and_runs_are_added_up_too(cli: Cli, used: None) -> None:
    days = cli("costs", "--by", "day", "--json").json["rows"]
    assert [(d["day"], d["requests"]) for d in days] == [("2026-01-01", 2), ("2026-01-02", 2)]
    runs = cli("costs", "--by", "run", "--json").json["rows"]
    assert {r["run_id"]: r["requests"] for r in runs} == {"": 2, "r1": 2}


def test_csv_is_exact(cli: Cli, used: None) -> None:
    table = list(csv.DictReader(io.StringIO(cli("costs", "--csv").out)))
    assert table[0] == {
        "model": "far",
        "requests": "2",
        "input_tokens": "200",
        "output_tokens": "40",
        "cost_usd": "0.000000246",
    }


def test_people_get_a_table_with_a_total(cli: Cli, used: None) -> None:
    lines = cli("costs").out.splitlines()
    assert lines[0].split() == ["MODEL", "REQUESTS", "INPUT", "TOKENS", "OUTPUT", "TOKENS", *USD]
    assert lines[-1].split() == ["total", "0.000000246"]


USD = ("COST", "USD")


def test_an_unused_ledger_costs_nothing(cli: Cli) -> None:
    assert cli("costs", "--json").json == {"rows": [], "total_usd": 0.0}
    assert "Nothing has been used yet." in cli("costs").out


def test_budgets_show_what_is_spent_and_reserved(
    cli: Cli, tmp_path: Path, home_folder: Path
) -> None:
    (tmp_path / "nearfar.yaml").write_text(CONFIG)
    ledger = Ledger.open(Settings())
    daily = Budget("daily", Decimal(5))
    claim = Claim("m", "openai", Decimal(2), Decimal(2), Decimal(1), 1, "x", "r")
    first, second = ledger.reserve(daily, claim), ledger.reserve(daily, claim)
    assert isinstance(first, Reservation)
    assert isinstance(second, Reservation)
    ledger.settle(first, Entry("m", "openai", 1, 1, Decimal("1.5")))
    day, run = cli("costs", "budget", "--json").json["budgets"]
    assert day == {
        "name": "daily",
        "per": "day",
        "period": first.period,
        "on_exhausted": "local",
        "limit_usd": 5.0,
        "spent_usd": 1.5,
        "reserved_usd": 2.0,
        "left_usd": 1.5,
    }
    assert run["period"] is None
    assert "no run yet" in cli("costs", "budget").out
    ledger.close()


def test_more_can_be_allowed_for_the_current_period(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nearfar.yaml").write_text(CONFIG)
    assert cli("costs", "allow", "daily", "2.5", "--json").json["limit_usd"] == 7.5
    assert cli("costs", "budget", "--json").json["budgets"][0]["limit_usd"] == 7.5
    assert cli("costs", "allow", "each", "1", "--run", "r1").rc == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("--by", "week"),
        ("--json", "--csv"),
        ("allow", "daily", "much"),
        ("allow", "daily", "-1"),
        ("allow", "each", "1"),
        ("allow", "nothing", "1"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, tmp_path: Path, wrong: tuple[str, ...]) -> None:
    (tmp_path / "nearfar.yaml").write_text(CONFIG)
    done = cli("costs", *wrong)
    assert done.rc == 2
    assert "NF-" in done.out + done.err


def test_cascades_show_cost_against_quality(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs", "cascades"]) == 0
    assert "No cascade has run yet" in capsys.readouterr().out
    with CascadeLog.open(Settings()) as log:
        for number in range(4):
            log.add(Row("bills", number == 0, True, "no total" if number == 0 else None, 0.0, 0.25))
        log.add(Row("mails", False, True, None, None, 0.0))
    assert main(["costs", "cascades"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["CASCADE", "ITEMS"]
    assert [line.split() for line in lines] == [
        ["bills", "4", "75.0%", "1", "100.0%", "0.00", "1.00"],
        ["mails", "1", "100.0%", "0", "100.0%", "unknown", "unknown"],
        ["bills:", "1", "x", "no", "total"],
    ]
    assert main(["costs", "cascades", "--json"]) == 0
    [bills, mails] = json.loads(capsys.readouterr().out)["cascades"]
    assert (bills["items"], bills["escalated"], bills["usd"]) == (4, 1, 1.0)
    assert (bills["near_passed"], bills["passed"], bills["reasons"]) == (0.75, 1.0, {"no total": 1})
    assert mails["usd"] is None
