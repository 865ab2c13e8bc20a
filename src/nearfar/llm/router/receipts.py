"""The receipts of routers in nearfar.db: the newest, as many as the settings say."""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from nearfar.llm.money import Ledger

if TYPE_CHECKING:
    from nearfar.settings import Settings

_PUT = """INSERT OR REPLACE INTO receipts (id, at, router, receipt)
    SELECT json_extract(value, '$[1].id'), json_extract(value, '$[0]'),
        json_extract(value, '$[1].router'), json_extract(value, '$[1]') FROM json_each(?)"""
_FORGET = "DELETE FROM receipts WHERE number <= (SELECT max(number) FROM receipts) - ?"
_TIDY = 100
_LATEST = """SELECT at, receipt FROM receipts WHERE :router IS NULL OR router = :router
    ORDER BY number DESC LIMIT :limit"""
_FIND = "SELECT at, receipt FROM receipts WHERE substr(id, 1, length(:id)) = :id LIMIT 2"


@dataclass(frozen=True)
class Kept:
    """A receipt, and when it was kept (seconds since 1970)."""

    at: float
    receipt: dict[str, Any]


class Receipts:
    """Keeps the newest ``keep`` receipts (and up to a tenth, or 100, more).

    The ledger's thread writes them; callers do not wait for it.
    """

    def __init__(self, ledger: Ledger, keep: int = 10_000) -> None:
        self._ledger = ledger
        self._keep = keep
        self._tidy = max(1, min(_TIDY, keep // 10))
        self._put = 0

    @classmethod
    def open(cls, settings: "Settings") -> "Receipts | None":
        """Those of the settings' database; None where the settings keep none."""
        keep = settings.receipts.keep
        return cls(Ledger.open(settings), keep) if keep else None

    def put(self, receipt: Mapping[str, Any]) -> None:
        """Keep a receipt soon, in place of an earlier one of its id; the oldest beyond the limit go."""
        # Made into text now: the caller may change it, and other processes wait while it is written.
        text = orjson.dumps(receipt, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        self._ledger.write_soon(self._write, f"[{time.time()},{text}]")

    def _write(self, connection: sqlite3.Connection, lines: list[str]) -> None:
        connection.execute(_PUT, (f"[{','.join(lines)}]",))
        self._put += len(lines)
        if self._put >= self._tidy:
            self._put = 0
            connection.execute(_FORGET, (self._keep,))

    def latest(self, limit: int = 20, *, router: str | None = None) -> list[Kept]:
        """The newest first; of one router, or of all."""
        self._ledger.flush()
        values = {"limit": limit, "router": router}
        rows = self._ledger.read(lambda c: c.execute(_LATEST, values).fetchall())
        return [Kept(at, orjson.loads(text)) for at, text in rows]

    def find(self, beginning: str) -> Kept | None:
        """The receipt whose id begins so; None where there is none, or more than one."""
        self._ledger.flush()
        rows = self._ledger.read(lambda c: c.execute(_FIND, {"id": beginning}).fetchall())
        return Kept(rows[0][0], orjson.loads(rows[0][1])) if len(rows) == 1 else None
