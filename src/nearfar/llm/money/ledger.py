"""The ledger: what was used, what it cost, and what is reserved of the budgets.

A reservation and its settlement are each one transaction of SQLite's, so that no two processes can spend
the same dollar. The sums of a budget stand in one row; nothing is added up over the entries.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nearfar.storage import database_path

from .amounts import to_nano, to_usd
from .book import Book, Busy
from .budgets import Alert, Budget
from .claims import Claim, Refusal, Reservation, Standing, grant
from .entries import Entry, insert, take_lost
from .process import Holder, this_process
from .writer import Write, Writer

if TYPE_CHECKING:
    from nearfar.settings import Settings

T = TypeVar("T")
RECOVER_EVERY_S = 1.0
LEASE_S = 3600.0

_RESERVE = """INSERT INTO ledger_reservations
    (at, expires_at, host, pid, started, budget, period, amount_nano, prompt_nano, prompt_tokens,
     run_id, model, provider, price_source)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SUMS = """SELECT spent_nano, reserved_nano, allowed_nano, alerted FROM ledger_sums
    WHERE budget = ? AND period = ?"""
_ADD = """INSERT INTO ledger_sums (budget, period, spent_nano, reserved_nano) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET spent_nano = spent_nano + excluded.spent_nano,
                              reserved_nano = reserved_nano + excluded.reserved_nano"""
_ALLOW = """INSERT INTO ledger_sums (budget, period, allowed_nano) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET allowed_nano = allowed_nano + excluded.allowed_nano"""
_FREE_IT = "DELETE FROM ledger_reservations WHERE id = ? RETURNING amount_nano"
_HELD = """SELECT id, expires_at, host, pid, started, budget, period, prompt_nano,
    prompt_tokens, run_id, model, provider, price_source FROM ledger_reservations"""


@dataclass(frozen=True)
class _Held:
    """A reservation as it stands in the file, and who made it."""

    id: int
    expires_at: float
    holder: Holder
    budget: str
    period: str
    prompt_nano: int
    prompt_tokens: int
    run_id: str
    model: str
    provider: str
    price_source: str


class Ledger:
    """One for each database file of a process; thread-safe, and new in a forked child.

    The async methods try at once in the event loop (about 0.1 ms) and only sleep when another process
    is writing at that moment.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._book = Book(path)
        self._writer = Writer(path)
        self._recovered = 0.0
        _all.add(self)

    @classmethod
    def open(cls, settings: "Settings") -> "Ledger":
        """The ledger of ``storage.url``; the file is opened at the first use."""
        path = database_path(settings).absolute()
        with _opening:
            found = _open.get(path)
            if found is None:
                found = _open[path] = cls(path)
            return found

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with _opening:
            if _open.get(self.path) is self:
                del _open[self.path]
        self._writer.close()
        self._book.close()

    # ------------------------------------------------------------------ without a budget

    def record(self, entry: Entry) -> None:
        """Write a line soon: after a tenth of a second, or when the program ends."""
        self._writer.put(insert, entry)

    def write_soon(self, write: Write, line: object) -> None:
        """As ``record``, for other tables of the ledger's schema; ``write`` gets lines that came
        together as one list, in a transaction.
        """
        self._writer.put(write, line)

    def flush(self) -> None:
        """Wait until all that was recorded is in the file."""
        self._writer.flush()

    # ------------------------------------------------------------------ with a budget

    def reserve(
        self, budget: Budget, claim: Claim, *, lease_s: float = LEASE_S
    ) -> Reservation | Refusal:
        """Take money out of a budget for a call, or say why not.

        After ``lease_s`` seconds, or when the process has died, what was reserved is free again.
        """
        work = self._reserving(budget, claim, lease_s)
        refusal = self._refusal(budget, claim)
        return self._book.write(work) if refusal is None else refusal

    async def areserve(
        self, budget: Budget, claim: Claim, *, lease_s: float = LEASE_S
    ) -> Reservation | Refusal:
        """As ``reserve``, on an event loop."""
        work = self._reserving(budget, claim, lease_s)
        refusal = self._refusal(budget, claim)
        return await self._book.awrite(work) if refusal is None else refusal

    def settle(self, reservation: Reservation, entry: Entry) -> list[Alert]:
        """Exchange a reservation for what the call did cost; the alerts that this sets off."""
        return self._book.write(lambda c: _settle(c, reservation, entry))

    async def asettle(self, reservation: Reservation, entry: Entry) -> list[Alert]:
        """As ``settle``, on an event loop."""
        return await self._book.awrite(lambda c: _settle(c, reservation, entry))

    def settle_soon(self, reservation: Reservation, entry: Entry) -> list[Alert]:
        """As ``settle``, never waiting: when the file is busy, the writer's thread does it."""
        return self._soon(lambda c: _settle(c, reservation, entry)) or []

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back: the call cost nothing. Never waits; see ``settle_soon``."""
        self._soon(lambda c: _release(c, reservation))

    def recover(self, *, now: float | None = None) -> int:
        """Free what dead processes, or calls past their lease, have reserved; returns how many.

        Their prompts were most likely sent, so their price is counted as spent, and no more: nobody
        knows how much of a reply the provider had written.
        """
        moment = self._clock() if now is None else now
        rows = self._book.read(lambda c: c.execute(_HELD).fetchall())
        held = [_Held(row[0], row[1], Holder(*row[2:5]), *row[5:]) for row in rows]
        dead = [one for one in held if one.expires_at <= moment or one.holder.is_dead()]
        if not dead:
            return 0
        return self._book.write(lambda c: sum(_lose(c, one, moment) for one in dead))

    def standing(self, budget: Budget, period: str) -> Standing:
        """Where the budget stands in that period."""
        spent, reserved, allowed, _ = self._sums(budget.name, period)
        return Standing(to_usd(spent), to_usd(reserved), to_usd(budget.limit_nano + allowed))

    def exhausted(self, budget: Budget, period: str) -> list[Alert]:
        """A call was refused, so the budget is as good as spent: the alerts that were not told yet."""
        if not budget.alert_at or self._sums(budget.name, period)[3] >= budget.alert_at[-1]:
            return []
        return self._soon(lambda c: _alerts(c, budget, period, at_end=True)) or []

    def allow(self, budget: Budget, period: str, more_usd: Decimal) -> None:
        """A person allows more than the limit, for that period alone."""
        values = (budget.name, period, to_nano(more_usd))
        self._book.write(lambda c: c.execute(_ALLOW, values))

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the file something, after all that was recorded is in it."""
        self.flush()
        return self._book.read(work)

    def before_fork(self) -> None:
        """Nothing of SQLite's may be open across a fork."""
        self._writer.before_fork()
        self._book.before_fork()

    def after_fork(self, *, in_child: bool) -> None:
        """In the parent and in the child."""
        self._book.after_fork()
        self._writer.after_fork(in_child=in_child)

    # ------------------------------------------------------------------ inside

    def _soon(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return self._book.write_now(work)
        except Busy:
            self._writer.put(_each, work)
            return None

    def _sums(self, budget: str, period: str) -> tuple[int, int, int, float]:
        row = self._book.read(lambda c: c.execute(_SUMS, (budget, period)).fetchone())
        return row or (0, 0, 0, 0.0)

    def _refusal(self, budget: Budget, claim: Claim) -> Refusal | None:
        """A refusal that a look without a lock shows, once the dead have given back theirs."""
        period = budget.period(self._clock(), claim.run_id)
        found = grant(budget, claim, period, self._sums(budget.name, period))
        if not isinstance(found, Refusal):
            return None
        if not found.reserved_usd:
            return found
        now = time.monotonic()
        if now - self._recovered < RECOVER_EVERY_S:
            return found
        self._recovered = now
        self.recover()
        found = grant(budget, claim, period, self._sums(budget.name, period))
        return found if isinstance(found, Refusal) else None

    def _reserving(
        self, budget: Budget, claim: Claim, lease_s: float
    ) -> Callable[[sqlite3.Connection], Reservation | Refusal]:
        now = self._clock()
        period = budget.period(now, claim.run_id)
        holder = this_process()

        def work(connection: sqlite3.Connection) -> Reservation | Refusal:
            sums = connection.execute(_SUMS, (budget.name, period)).fetchone() or (0, 0, 0, 0.0)
            amount = grant(budget, claim, period, sums)
            if isinstance(amount, Refusal):
                return amount
            values = (
                *(now, now + lease_s, holder.host, holder.pid, holder.started),
                *(budget.name, period, amount, to_nano(claim.prompt_usd), claim.prompt_tokens),
                *(claim.run_id, claim.model, claim.provider, claim.price_source),
            )
            number = connection.execute(_RESERVE, values).lastrowid or 0
            connection.execute(_ADD, (budget.name, period, 0, amount))
            return Reservation(number, budget, period, to_usd(amount))

        return work


def _each(connection: sqlite3.Connection, works: list[Callable[[sqlite3.Connection], Any]]) -> None:
    """Changes that had to wait for another process."""
    for work in works:
        work(connection)


def _settle(connection: sqlite3.Connection, reservation: Reservation, entry: Entry) -> list[Alert]:
    """Inside a transaction: the reservation goes, the entry comes, the sums follow."""
    budget, period, number = reservation.budget, reservation.period, reservation.id
    freed, already = _take_back(connection, number)
    insert(connection, [entry], budget.name, period, number)
    cost = entry.cost_nano or 0
    connection.execute(_ADD, (budget.name, period, cost - already, -freed))
    return _alerts(connection, budget, period)


def _take_back(connection: sqlite3.Connection, number: int) -> tuple[int, int]:
    """What a reservation still holds; and, had it been given up for lost, what was counted for it."""
    row = connection.execute(_FREE_IT, (number,)).fetchone()
    if row is not None:
        return int(row[0]), 0
    return 0, take_lost(connection, number)


def _release(connection: sqlite3.Connection, reservation: Reservation) -> None:
    freed, already = _take_back(connection, reservation.id)
    connection.execute(_ADD, (reservation.budget.name, reservation.period, -already, -freed))


def _lose(connection: sqlite3.Connection, held: _Held, now: float) -> int:
    """Inside a transaction: count a dead call's prompt as spent; 0 if another process was quicker."""
    row = connection.execute(_FREE_IT, (held.id,)).fetchone()
    if row is None:
        return 0
    freed = int(row[0])
    entry = Entry(
        model=held.model,
        provider=held.provider,
        input_tokens=held.prompt_tokens,
        output_tokens=0,
        cost_usd=to_usd(held.prompt_nano),
        price_source=held.price_source,
        outcome="lost",
        run_id=held.run_id,
        estimated=True,
        at=now,
    )
    insert(connection, [entry], held.budget, held.period, held.id)
    connection.execute(_ADD, (held.budget, held.period, held.prompt_nano, -freed))
    return 1


def _alerts(
    connection: sqlite3.Connection, budget: Budget, period: str, *, at_end: bool = False
) -> list[Alert]:
    """The shares that are passed (``at_end``: all) and were not told yet, by whatever process."""
    sums = connection.execute(_SUMS, (budget.name, period)).fetchone()
    if sums is None:  # the very first call was too dear
        return []
    spent, _, allowed, told = sums
    limit = budget.limit_nano + allowed
    due = [s for s in budget.alert_at if s > told and (at_end or spent >= s * limit)]
    if not due:
        return []
    query = "UPDATE ledger_sums SET alerted = ? WHERE budget = ? AND period = ?"
    connection.execute(query, (due[-1], budget.name, period))
    return [Alert(budget.name, period, s, to_usd(spent), to_usd(limit)) for s in due]


_opening = threading.Lock()
_open: dict[Path, Ledger] = {}
"""By the file: writers of one process share a connection."""
_all: "weakref.WeakSet[Ledger]" = weakref.WeakSet()


def _before_fork() -> None:
    for ledger in list(_all):
        ledger.before_fork()


def _after_fork(*, in_child: bool) -> None:
    for ledger in list(_all):
        ledger.after_fork(in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, in_child=False),
        after_in_child=partial(_after_fork, in_child=True),
    )
