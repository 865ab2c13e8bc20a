"""The ledger: reservations, settlements, what dead processes leave, and alerts."""

import asyncio
import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers

from nearfar.errors import ConfigurationError
from nearfar.llm.money import Budget, Claim, Entry, Ledger, Refusal, Reservation, find_budget
from nearfar.llm.money.process import Holder, this_process
from nearfar.llm.money.report import costs
from nearfar.llm.money.schema import MIGRATIONS
from nearfar.settings import Settings
from nearfar.storage import connect

TEN = Budget("ten", Decimal(10), per="total")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "nearfar.db")
    yield made
    made.close()


def claim(wish: object, least: object = None, prompt: object = "0.5", run: str = "r") -> Claim:
    least = wish if least is None else least
    return Claim(
        "m", "openai", Decimal(str(wish)), Decimal(str(least)), Decimal(str(prompt)), 7, "x", run
    )


def entry(cost: object, **more: Any) -> Entry:
    return Entry("m", "openai", 10, 5, None if cost is None else Decimal(str(cost)), "x", **more)


def reserve(ledger: Ledger, *amounts: Any, budget: Budget = TEN) -> Reservation:
    made = ledger.reserve(budget, claim(*amounts))
    assert isinstance(made, Reservation)
    return made


def spent(ledger: Ledger, budget: Budget = TEN, period: str = "total") -> tuple[float, float]:
    standing = ledger.standing(budget, period)
    return float(standing.spent_usd), float(standing.reserved_usd)


def test_a_settlement_exchanges_the_reservation_for_the_true_cost(ledger: Ledger) -> None:
    held = reserve(ledger, 4)
    assert spent(ledger) == (0, 4)
    ledger.settle(held, entry("1.25"))
    assert spent(ledger) == (1.25, 0)


def test_a_released_reservation_costs_nothing(ledger: Ledger) -> None:
    ledger.release(reserve(ledger, 4))
    assert spent(ledger) == (0, 0)
    assert costs(ledger) == []


def test_what_others_hold_is_busy_and_what_is_spent_is_exhausted(ledger: Ledger) -> None:
    held = reserve(ledger, 8)
    refusal = ledger.reserve(TEN, claim(3))
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "busy"
    ledger.settle(held, entry(8))
    refusal = ledger.reserve(TEN, claim(3))
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "exhausted"
    assert (float(refusal.spent_usd), float(refusal.needed_usd)) == (8, 3)


def test_less_is_granted_at_the_end_of_a_budget_but_never_because_others_hold_it(
    ledger: Ledger,
) -> None:
    ledger.settle(reserve(ledger, 7), entry(7))
    assert reserve(ledger, 5, 1).amount_usd == 3
    refusal = ledger.reserve(TEN, claim(2, 1))
    assert isinstance(refusal, Refusal)
    assert refusal.kind == "busy"


def test_a_person_can_allow_more(ledger: Ledger) -> None:
    assert isinstance(ledger.reserve(TEN, claim(11)), Refusal)
    ledger.allow(TEN, "total", Decimal(2))
    assert reserve(ledger, 11).amount_usd == 11


def test_each_period_and_each_budget_has_its_own_sum(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()]
    ledger = Ledger(tmp_path / "a.db", clock=lambda: now[0])
    day, month = Budget("d", Decimal(1), "day"), Budget("m", Decimal(1), "month")
    run = Budget("r", Decimal(1), "run")
    held = [reserve(ledger, 1, budget=one) for one in (day, month, run)]
    assert [one.period for one in held] == ["2026-01-31", "2026-01", "r"]
    now[0] += 2
    again = [ledger.reserve(one, claim(1)) for one in (day, month, run)]
    assert [isinstance(one, Reservation) for one in again] == [True, True, False]
    ledger.settle(held[0], entry("0.5"))
    assert spent(ledger, day, "2026-01-31") == (0.5, 0)
    ledger.close()


def test_a_dead_process_gives_back_all_but_the_prompt(ledger: Ledger) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom decimal import Decimal\n"
        "from nearfar.llm.money import *\n"
        f"ledger = Ledger(Path({str(ledger.path)!r}))\n"
        "claim = Claim('m', 'openai', Decimal(9), Decimal(9), Decimal('0.5'), 7, 'x', 'r')\n"
        "ledger.reserve(Budget('ten', Decimal(10), per='total'), claim)\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    assert ledger.recover() == 0
    assert isinstance(ledger.reserve(TEN, claim(5)), Refusal)
    child.kill()
    end = time.monotonic() + 30
    while not ledger.recover():  # it is not even waited for: a zombie holds nothing
        assert time.monotonic() < end
    child.communicate()
    assert spent(ledger) == (0.5, 0)
    assert reserve(ledger, 9).amount_usd == 9


def test_a_call_past_its_lease_is_lost_and_a_late_settlement_still_counts(ledger: Ledger) -> None:
    held = reserve(ledger, 9)
    gone = reserve(ledger, 1)
    assert ledger.recover(now=held_until(ledger) + 1) == 2
    assert spent(ledger) == (1, 0)
    ledger.settle(held, entry(4))
    assert spent(ledger) == (4.5, 0)
    ledger.release(gone)
    assert spent(ledger) == (4, 0)
    assert [row.cost_usd for row in costs(ledger)] == [4]


def held_until(ledger: Ledger) -> float:
    query = "SELECT max(expires_at) FROM ledger_reservations"
    return float(ledger.read(lambda c: c.execute(query).fetchone()[0]))


def test_a_process_is_dead_when_its_number_was_given_to_another() -> None:
    here = this_process()
    assert not here.is_dead()
    assert Holder(here.host, here.pid, here.started - 100).is_dead()
    assert Holder(here.host, os.getppid(), 1.0).is_dead()
    parent = psutil.Process(os.getppid())
    assert not Holder(here.host, parent.pid, parent.create_time()).is_dead()
    assert not Holder("another-machine", 1, 1.0).is_dead()


def test_each_alert_is_told_once_whoever_asks(ledger: Ledger) -> None:
    told = []
    for _ in range(9):
        told += [a.share for a in ledger.settle(reserve(ledger, 1), entry(1))]
    other = Ledger(ledger.path)
    assert told == [0.5, 0.8]
    assert [a.share for a in other.exhausted(TEN, "total")] == [1.0]
    assert ledger.exhausted(TEN, "total") == []
    other.close()


def test_threads_and_tasks_share_a_ledger(ledger: Ledger) -> None:
    def work() -> None:
        for _ in range(30):
            ledger.settle(reserve(ledger, "0.01"), entry("0.01"))

    async def tasks() -> None:
        async def one() -> None:
            held = await ledger.areserve(TEN, claim("0.01"))
            assert isinstance(held, Reservation)
            await ledger.asettle(held, entry("0.01"))

        await asyncio.gather(*(one() for _ in range(60)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join()
    assert spent(ledger) == (1.5, 0)


def test_the_event_loop_goes_on_while_another_process_writes(ledger: Ledger) -> None:
    async def both() -> int:
        blocker = connect(ledger.path)
        blocker.execute("BEGIN IMMEDIATE")
        reserving = asyncio.create_task(ledger.areserve(TEN, claim(1)))
        turns = 0
        while turns < 20:
            await asyncio.sleep(0.001)
            turns += 1
        assert not reserving.done()
        blocker.execute("COMMIT")
        blocker.close()
        assert isinstance(await reserving, Reservation)
        return turns

    ledger.standing(TEN, "total")  # the tables are there
    assert asyncio.run(both()) == 20


def test_a_settlement_that_must_not_wait_is_written_when_the_file_is_free(ledger: Ledger) -> None:
    held = reserve(ledger, 4)
    blocker = connect(ledger.path)
    blocker.execute("BEGIN IMMEDIATE")
    assert ledger.settle_soon(held, entry(3)) == []
    assert spent(ledger) == (0, 4)
    blocker.execute("COMMIT")
    blocker.close()
    ledger.flush()
    assert spent(ledger) == (3, 0)


def test_what_was_recorded_is_in_the_file_when_the_program_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    program = (
        "from pathlib import Path\nfrom decimal import Decimal\nfrom nearfar.llm.money import *\n"
        f"ledger = Ledger(Path({str(path)!r}))\n"
        "for n in range(2000):\n"
        "    ledger.record(Entry('near', 'local', n, 1, Decimal(0)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    ledger = Ledger(path)
    (row,) = costs(ledger)
    assert (row.requests, row.input_tokens) == (2000, sum(range(2000)))
    ledger.close()


def _in_child(path: str) -> None:
    ledger = Ledger.open(Settings())
    assert str(ledger.path) == path
    ledger.settle(reserve(ledger, 1), entry(1))
    ledger.record(entry(None))  # and nobody flushes


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_connection_and_a_writer_of_its_own(home_folder: Path) -> None:
    ledger = Ledger.open(Settings())
    ledger.record(entry(None))
    held = reserve(ledger, 2)
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(str(ledger.path),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    ledger.settle(held, entry(2))
    assert spent(ledger) == (3, 0)
    assert costs(ledger)[0].requests == 4
    ledger.close()


def test_a_full_disk_is_logged_and_hurts_no_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    ledger = Ledger(folder / "nearfar.db")
    with caplog.at_level(logging.WARNING):
        ledger.record(entry(1))
        ledger.flush()
    assert "the ledger could not be written" in caplog.text
    ledger.close()


def test_the_ledger_of_settings_is_one_for_each_file(tmp_path: Path) -> None:
    first = Ledger.open(Settings())
    assert Ledger.open(Settings()) is first
    url = f"sqlite:///{(tmp_path / 'other.db').as_posix()}"
    other = Ledger.open(Settings.model_validate({"storage": {"url": url}}))
    assert other is not first
    assert other.path == tmp_path / "other.db"
    first.close()
    other.close()
    assert Ledger.open(Settings()) is not first


def test_a_budget_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no budget 'x'"):
        find_budget("x", Settings())


def test_other_tables_of_the_same_file_have_their_own_versions(ledger: Ledger) -> None:
    ledger.standing(TEN, "total")
    with sqlite3.connect(ledger.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("SELECT * FROM schema_parts").fetchall() == [
            ("ledger", len(MIGRATIONS))
        ]
    connection.close()


DAYS_THAT_DISAGREE = """
    SELECT model, input_tokens, output_tokens, cost_nano FROM ledger_days EXCEPT
    SELECT model, sum(input_tokens), sum(output_tokens), sum(cost_nano) FROM ledger_entries
    GROUP BY day, model
"""


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: the sums are those of the lines, and the limit holds."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "nearfar.db")
        self.held: list[Reservation] = []

    @rule(wish=integers(1, 6), least=integers(0, 5))
    def reserve(self, wish: int, least: int) -> None:
        made = self.ledger.reserve(TEN, claim(wish, max(1, wish - least), 1))
        if isinstance(made, Reservation):
            self.held.append(made)

    @precondition(lambda self: self.held)
    @rule(which=integers(0, 9), share=integers(0, 4))
    def settle(self, which: int, share: int) -> None:
        one = self.held.pop(which % len(self.held))
        self.ledger.settle(one, entry(one.amount_usd * share / 4))

    @precondition(lambda self: self.held)
    @rule(which=integers(0, 9))
    def release(self, which: int) -> None:
        self.ledger.release(self.held.pop(which % len(self.held)))

    @rule()
    def lose_all(self) -> None:
        self.ledger.recover(now=4e9)

    @invariant()
    def sums_are_those_of_the_lines(self) -> None:
        def work(c: sqlite3.Connection) -> tuple[Any, ...]:
            lines = "SELECT coalesce(sum(cost_nano), 0) FROM ledger_entries"
            reserved = "SELECT coalesce(sum(amount_nano), 0) FROM ledger_reservations"
            return (c.execute(lines).fetchone()[0] / 1e9, c.execute(reserved).fetchone()[0] / 1e9)

        odd = self.ledger.read(lambda c: c.execute(DAYS_THAT_DISAGREE).fetchall())
        assert [row for row in odd if any(row[1:])] == []
        now = spent(self.ledger)
        assert self.ledger.read(work) == now
        assert min(now) >= 0

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


AnyOrder.TestCase.settings = hypothesis_settings(max_examples=25, stateful_step_count=20)
TestAnyOrder = AnyOrder.TestCase
