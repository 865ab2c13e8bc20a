"""Checkpoints as rows of SQLite, in both directions. All of it runs inside somebody's transaction."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ormsgpack
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.sqlite.utils import load_pending_writes, pending_writes_sql

from nearfar.errors import CheckpointDataError

from .items import Item, Lend, Life, Memo, Output, Pieces, Ref, Show, Splitter, ranges, spread
from .writer import StaleError

INSERT_ITEM = "INSERT INTO checkpoint_items (thread_id, number, type, value) VALUES (?, ?, ?, ?)"
INSERT_CHECKPOINT = (
    "INSERT OR REPLACE INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id,"
    " parent_checkpoint_id, type, checkpoint, metadata, items, written_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_WRITES = (
    "INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel,"
    " type, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
COLUMNS = (
    "rowid, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,"
    " metadata, items"
)
_PENDING = pending_writes_sql(True)
_LIFE = "SELECT token, pruned, last_number FROM checkpoint_threads WHERE thread_id = ?"
_COUNT = "SELECT count(*) FROM checkpoint_items WHERE thread_id = ? AND number BETWEEN ? AND ?"
_SET = "UPDATE checkpoint_threads SET last_number = ? WHERE thread_id = ?"
_REFS = (
    "SELECT items FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?"
)
_KEEP = "INSERT OR REPLACE INTO checkpoint_outputs VALUES (?, ?, ?)"
_LATEST_KEPT = (
    "SELECT items FROM checkpoint_outputs WHERE thread_id = ? ORDER BY rowid DESC LIMIT 1"
)
_KEPT = "SELECT items FROM checkpoint_outputs WHERE thread_id = ? AND name = ?"
_RANGE = (
    "SELECT number, type, value FROM checkpoint_items"
    " WHERE thread_id = ? AND number BETWEEN ? AND ? ORDER BY number"
)


def begin_life(connection: sqlite3.Connection, thread_id: str, last_number: int = 0) -> Life:
    """Make a thread's row, under a token that no earlier thread of that name had."""
    life = (secrets.randbits(62), 0)
    values = (thread_id, *life, last_number)
    connection.execute("INSERT INTO checkpoint_threads VALUES (?, ?, ?, ?)", values)
    return life


def life_of(connection: sqlite3.Connection, thread_id: str) -> Life | None:
    """None when nothing of the thread is stored."""
    row = connection.execute(_LIFE, (thread_id,)).fetchone()
    return None if row is None else (row[0], row[1])


def keep(connection: sqlite3.Connection, splitter: Splitter, output: Output) -> None:
    """Note what an output is made of; what the checkpoint does not hold is stored beside it."""
    thread_id = output.thread_id
    row = connection.execute(_REFS, (thread_id, output.checkpoint_id)).fetchone()
    refs = output.held(row[0] if row else None)
    absent = output.lists.keys() - refs.keys()
    if absent:
        latest = connection.execute(_LATEST_KEPT, (thread_id,)).fetchone()
        earlier = ormsgpack.unpackb(latest[0]) if latest else {}
        reader = Reader(connection, splitter)
        last = connection.execute(_LIFE, (thread_id,)).fetchone()[2]
        for channel in sorted(absent):
            before = reader.read_items(thread_id, earlier.get(channel, [""]))
            refs[channel], rows = output.added(channel, splitter, before, last)
            connection.executemany(INSERT_ITEM, rows)
            last += len(rows)
        connection.execute(_SET, (last, thread_id))
    connection.execute(_KEEP, (thread_id, output.name, ormsgpack.packb(refs)))


@dataclass
class NewRow:
    """A checkpoint on its way into a database."""

    thread_id: str
    space: str
    id: str
    parent: str | None
    kind: str
    content: bytes
    metadata: Any
    pieces: Mapping[str, Pieces]
    life: Life | None
    """The life of the thread that the numbers of ``pieces`` belong to."""
    given: list[Item] = field(default_factory=list)
    """The items that got their numbers in this transaction."""

    def number_items(self, last: int) -> tuple[list[tuple[str, int, str, bytes]], int]:
        """Rows for the items that are not stored yet, counted on from ``last``; and the last number."""
        rows = []
        self.given = []
        for pieces in self.pieces.values():
            for item in pieces.items if pieces.ref is None else ():
                if item.number is None:
                    last += 1
                    rows.append((self.thread_id, last, item.kind, item.content))
                    item.number = last
                    self.given.append(item)
        return rows, last

    def known_numbers(self) -> list[int]:
        """The numbers of the items that are not stored again."""
        items = [i for pieces in self.pieces.values() for i in pieces.items]
        return sorted({i.number for i in items if i.number is not None})

    def refs(self) -> bytes | None:
        """What the column ``items`` holds, once all have their numbers."""
        found = {name: pieces.settle() for name, pieces in self.pieces.items()}
        return ormsgpack.packb(found) if found else None

    def settle(self, committed: bool) -> None:
        """Let go of the bytes that are stored, or of the numbers that are not."""
        for item in self.given:
            if committed:
                item.content = b""
            else:
                item.number = None
        if not committed:
            for pieces in self.pieces.values():
                pieces.ref = None


@dataclass
class NewCheckpoint(NewRow):
    """A checkpoint on its way into SQLite."""

    clock: Callable[[], float] = time.time

    def write(self, connection: sqlite3.Connection) -> Life:
        """Into the database; the thread's life. Raises StaleError when its items are gone."""
        row = connection.execute(_LIFE, (self.thread_id,)).fetchone()
        life, last = (None, 0) if row is None else ((row[0], row[1]), row[2])
        if life != self.life and not self._still_there(connection, life):
            raise StaleError
        if life is None:
            life = begin_life(connection, self.thread_id)
        numbered, last = self.number_items(last)
        if numbered:
            connection.executemany(INSERT_ITEM, numbered)
            connection.execute(_SET, (last, self.thread_id))
        own = (self.thread_id, self.space, self.id, self.parent, self.kind, self.content)
        connection.execute(INSERT_CHECKPOINT, (*own, self.metadata, self.refs(), self.clock()))
        return life

    def _still_there(self, connection: sqlite3.Connection, life: Life | None) -> bool:
        """Whether the items that are not stored again are those of this life, and not pruned."""
        numbers = self.known_numbers()
        if not numbers:
            return True
        if life is None or self.life is None or life[0] != self.life[0]:
            return False
        bounds = ranges(numbers)
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        held = (connection.execute(_COUNT, (self.thread_id, *pair)).fetchone()[0] for pair in pairs)
        return bool(sum(held) == len(numbers))


@dataclass
class Found:
    """A checkpoint that was read, and what to remember of it."""

    checkpoint: CheckpointTuple
    memo: Memo


def remembered(before: Memo | None, name: str, ref: Ref, version: Any, memo: Memo) -> Pieces | None:
    """The pieces of last time, when they are the same and their fields are known."""
    known = before.channels.get(name) if before else None
    if not (before and known and before.life and memo.life and before.life[0] == memo.life[0]):
        return None
    whole = known.ref == ref and known.version == version and known.fields is not None
    return known if whole else None


class Reader:
    """Reads checkpoints of one statement or page; items that several share are read once.

    ``lend``: whether the objects of ``memo`` themselves are given out, or their like.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        splitter: Splitter,
        memo: Memo | None = None,
        *,
        lend: Lend = Lend.NO,
    ) -> None:
        self._lend = lend
        self._connection, self.splitter, self._memo = connection, splitter, memo
        self._items: dict[tuple[str, int], Item] = {}

    def read(self, row: Sequence[Any]) -> Found:
        """The checkpoint of a row of ``COLUMNS``."""
        _, thread_id, space, checkpoint_id, parent, kind, content, metadata, refs = row
        serde = self.splitter.serde
        checkpoint = serde.plain.loads_typed(serde.unseal(kind, content))
        memo = Memo(life_of(self._connection, thread_id))
        for name, ref in (ormsgpack.unpackb(refs) if refs else {}).items():
            version = checkpoint["channel_versions"].get(name)
            known = remembered(self._memo, name, ref, version, memo)
            if known is not None and self._lend is not Lend.NO:
                value, pieces = self.splitter.lend(known, self._lend), known
            else:
                items = known.items if known else self.read_items(thread_id, ref)
                value, pieces = self.splitter.join(ref, version, items)
            checkpoint["channel_values"][name], memo.channels[name] = value, pieces
        writes = self._connection.execute(_PENDING, (thread_id, space, checkpoint_id)).fetchall()
        place = {"thread_id": thread_id, "checkpoint_ns": space}
        found = CheckpointTuple(
            {"configurable": {**place, "checkpoint_id": checkpoint_id}},
            checkpoint,
            json.loads(metadata) if metadata is not None else {},
            {"configurable": {**place, "checkpoint_id": parent}} if parent else None,
            load_pending_writes(writes, serde),
        )
        return Found(found, memo)

    def kept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]:
        """What was kept under that name, as ``show`` shows it."""
        row = self._connection.execute(_KEPT, (thread_id, name)).fetchone()
        life = life_of(self._connection, thread_id)
        found = {}
        for channel, ref in (ormsgpack.unpackb(row[0]) if row else {}).items():
            known = self._memo.items_of(channel, ref, life) if self._memo else None
            items = self.read_items(thread_id, ref) if known is None else known
            found[channel] = self.splitter.shown(items, show)
        return found

    def values_of(
        self, thread_id: str, kind: str, content: bytes, refs: bytes | None, names: Iterable[str]
    ) -> dict[str, Any]:
        """The values of those channels, of the ones that the checkpoint holds."""
        serde = self.splitter.serde
        checkpoint = serde.plain.loads_typed(serde.unseal(kind, content))
        inline, apart = checkpoint["channel_values"], ormsgpack.unpackb(refs) if refs else {}
        found = {}
        for name in names:
            if name in inline:
                found[name] = inline[name]
            elif name in apart:
                items = self.read_items(thread_id, apart[name])
                found[name] = self.splitter.join(apart[name], None, items)[0]
        return found

    def read_items(self, thread_id: str, ref: Ref) -> list[Item]:
        """The items of a ref."""
        cached = self._items
        numbers = spread(ref[1:])
        if any((thread_id, number) not in cached for number in numbers):
            for first, last in zip(ref[1::2], ref[2::2], strict=True):
                for row in self._connection.execute(_RANGE, (thread_id, first, last)):
                    if (thread_id, row[0]) not in cached:
                        item = self.splitter.read(row[1], row[2])
                        item.number = row[0]
                        cached[thread_id, row[0]] = item
        try:
            return [cached[thread_id, number] for number in numbers]
        except KeyError:
            raise CheckpointDataError(
                "A part of a checkpoint is missing.", data={"thread_id": thread_id}
            ) from None
