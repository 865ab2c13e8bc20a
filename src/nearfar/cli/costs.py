"""`nearfar costs`."""

import csv
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearfar.errors import UsageError

from .context import settings as current_settings
from .output import emit_json

if TYPE_CHECKING:
    from nearfar.llm.money.report import BudgetRow, Row

app = typer.Typer(add_completion=False)


class By(StrEnum):
    """What rows are added up by."""

    model = "model"
    day = "day"
    run = "run"


_HEADS = {"model": "model", "day": "day", "run": "run_id"}
_NUMBERS = ("requests", "input_tokens", "output_tokens", "cost_usd")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback(invoke_without_command=True)
def costs(
    context: typer.Context,
    *,
    by: Annotated[By, typer.Option(help="Add up by model, day (of UTC) or run.")] = By.model,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> None:
    """Show what was used and spent, near and far."""
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise UsageError("--json and --csv do not go together.")
    from nearfar.llm.money import Ledger
    from nearfar.llm.money.report import costs as add_up

    rows = add_up(Ledger.open(current_settings()), by.value)
    head = _HEADS[by.value]
    if as_json:
        total = float(sum((row.cost_usd for row in rows), Decimal(0)))
        emit_json({"rows": [_plain(row, head) for row in rows], "total_usd": total})
    elif as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow((head, *_NUMBERS))
        table.writerows(_cells(row) for row in rows)
    else:
        _show(rows, head)
    unpriced = sum(row.unpriced for row in rows)
    if unpriced:
        sys.stderr.write(
            f"{unpriced} calls are not in the costs: no price of their model is known. "
            "Give it one in the settings (price: {input, output}).\n"
        )


@app.command()
def budget(*, as_json: JsonOption = False) -> None:
    """Show where the budgets stand: limits, and what is spent and reserved in the current period."""
    from nearfar.llm.money import Ledger
    from nearfar.llm.money.report import budgets

    known = current_settings()
    rows = budgets(Ledger.open(known), known)
    if as_json:
        emit_json({"budgets": [_plain_budget(row) for row in rows]})
        return
    if not rows:
        sys.stdout.write("No budgets are configured.\n")
        return
    lines: list[tuple[str, ...]]
    lines = [("BUDGET", "PERIOD", "LIMIT USD", "SPENT USD", "RESERVED USD", "LEFT USD", "THEN")]
    lines += [
        (
            row.name,
            row.period or "no run yet",
            _dollars(row.limit_usd),
            _dollars(row.spent_usd),
            _dollars(row.reserved_usd),
            _dollars(row.left_usd),
            row.on_exhausted,
        )
        for row in rows
    ]
    _write(lines, numbers=range(2, 6))


@app.command()
def allow(
    name: Annotated[str, typer.Argument(help="The budget.")],
    usd: Annotated[str, typer.Argument(help="USD beyond its limit.")],
    run: Annotated[str | None, typer.Option(help="The run, for a budget per run.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Allow more than a budget's limit, in its current period alone."""
    import time

    from nearfar.llm.money import Ledger, find_budget
    from nearfar.llm.money.report import budgets

    known = current_settings()
    found = find_budget(name, known)
    if found.per == "run" and run is None:
        raise UsageError(f"The budget {name!r} is per run; say which one with --run ID.")
    ledger = Ledger.open(known)
    ledger.allow(found, found.period(time.time(), run or ""), _amount(usd))
    row = next(row for row in budgets(ledger, known) if row.name == name)
    if as_json:
        emit_json(_plain_budget(row))
    else:
        sys.stdout.write(f"{name}: {_dollars(_amount(usd))} USD more are allowed.\n")


@app.command()
def cascades(*, as_json: JsonOption = False) -> None:
    """Show cost against quality of each cascade: how much the near node did alone, and the rest's cost.

    A share is of all items; costs are null where the price of a model is not known.
    """
    from nearfar.graphs.cascades import report

    rows = report(current_settings())
    if as_json:
        emit_json({"cascades": rows})
        return
    if not rows:
        sys.stdout.write("No cascade has run yet.\n")
        return
    lines: list[tuple[str, ...]]
    lines = [("CASCADE", "ITEMS", "NEAR ALONE", "ESCALATED", "PASSED", "NEAR USD", "FAR USD")]
    lines += [
        (
            row["cascade"],
            str(row["items"]),
            f"{row['near_passed']:.1%}",
            str(row["escalated"]),
            f"{row['passed']:.1%}",
            _dollars_or_not(row["near_usd"]),
            _dollars_or_not(row["far_usd"]),
        )
        for row in rows
    ]
    _write(lines, numbers=range(1, 7))
    for row in rows:
        for reason, count in row["reasons"].items():
            sys.stdout.write(f"{row['cascade']}: {count} x {reason}\n")


def _dollars_or_not(usd: float | None) -> str:
    return "unknown" if usd is None else _dollars(Decimal(str(usd)))


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 < amount <= 1_000_000:
        raise UsageError(f"{text!r} is no amount of USD.", data={"usd": text})
    return amount


def _plain(row: "Row", head: str) -> dict[str, Any]:
    return {
        head: row.key,
        "requests": row.requests,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": float(row.cost_usd),
    }


def _plain_budget(row: "BudgetRow") -> dict[str, Any]:
    return {
        "name": row.name,
        "per": row.per,
        "period": row.period,
        "on_exhausted": row.on_exhausted,
        "limit_usd": float(row.limit_usd),
        "spent_usd": float(row.spent_usd),
        "reserved_usd": float(row.reserved_usd),
        "left_usd": float(row.left_usd),
    }


def _cells(row: "Row") -> tuple[str, ...]:
    numbers = (row.requests, row.input_tokens, row.output_tokens)
    return (row.key, *map(str, numbers), _dollars(row.cost_usd))


def _dollars(usd: Decimal) -> str:
    from nearfar.llm.money.amounts import dollars, to_nano

    return dollars(to_nano(usd))


def _show(rows: "Sequence[Row]", head: str) -> None:
    if not rows:
        sys.stdout.write("Nothing has been used yet.\n")
        return
    lines = [tuple(name.upper().replace("_", " ") for name in (head, *_NUMBERS))]
    lines += [_cells(row) for row in rows]
    total = sum((row.cost_usd for row in rows), Decimal(0))
    lines.append(("total", "", "", "", _dollars(total)))
    _write(lines, numbers=range(1, 5))


def _write(lines: Sequence[tuple[str, ...]], *, numbers: range) -> None:
    """Aligned columns; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        padded = [
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
