"""Checkpoints as rows of Postgres, in both directions. All of it runs inside somebody's transaction."""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    writes_sort_key,
)
from psycopg.types.json import Jsonb

from nearfar.errors import CheckpointDataError

from .items import Item, Lend, Life, Memo, Output, Ref, Show, Splitter, spread
from .rows import Found, NewRow, remembered
from .writer import StaleError

TABLES = (
    "ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS position BIGSERIAL",
    "ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS state BYTEA",
    "ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS items BYTEA",
    "ALTER TABLE checkpoints ADD COLUMN IF NOT EXISTS written_at DOUBLE PRECISION",
    (
        "CREATE INDEX IF NOT EXISTS checkpoints_in_order"
        " ON checkpoints (thread_id, checkpoint_ns, position)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS checkpoint_threads (thread_id TEXT PRIMARY KEY,"
        " token BIGINT NOT NULL, pruned BIGINT NOT NULL, last_number BIGINT NOT NULL)"
    ),
    (
        "CREATE TABLE IF NOT EXISTS checkpoint_items (thread_id TEXT NOT NULL, number BIGINT NOT NULL,"
        " type TEXT NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (thread_id, number))"
    ),
    (
        "CREATE TABLE IF NOT EXISTS checkpoint_outputs (thread_id TEXT NOT NULL, name TEXT NOT NULL,"
        " items BYTEA NOT NULL, position BIGSERIAL, PRIMARY KEY (thread_id, name))"
    ),
)
_COLUMNS = (
    "position, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, state,"
    " metadata, items"
)
_INSERT = (
    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,"
    " state, metadata, items, written_at, checkpoint)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET"
    " parent_checkpoint_id = EXCLUDED.parent_checkpoint_id, type = EXCLUDED.type,"
    " state = EXCLUDED.state, metadata = EXCLUDED.metadata, items = EXCLUDED.items,"
    " written_at = EXCLUDED.written_at, checkpoint = EXCLUDED.checkpoint,"
    " position = EXCLUDED.position"
)
_LIFE = "SELECT token, pruned, last_number FROM checkpoint_threads WHERE thread_id = %s"
_NEW_ITEMS = "INSERT INTO checkpoint_items VALUES (%s, %s, %s, %s)"
_LAST = "UPDATE checkpoint_threads SET last_number = %s WHERE thread_id = %s"
_ITEMS = "SELECT number, type, value FROM checkpoint_items WHERE thread_id = %s AND number BETWEEN %s AND %s"
_WRITES = (
    "SELECT task_path, task_id, idx, channel, type, blob FROM checkpoint_writes"
    " WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s"
)
_KEEP = (
    "INSERT INTO checkpoint_outputs (thread_id, name, items) VALUES (%s, %s, %s)"
    " ON CONFLICT (thread_id, name) DO UPDATE SET items = EXCLUDED.items,"
    " position = EXCLUDED.position"
)
_LATEST_KEPT = (
    "SELECT items FROM checkpoint_outputs WHERE thread_id = %s ORDER BY position DESC LIMIT 1"
)
_KEPT = "SELECT items FROM checkpoint_outputs WHERE thread_id = %s AND name = %s"
_WHERE = "FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s"


def place(config: RunnableConfig) -> tuple[str, str]:
    """Thread and namespace."""
    values = config["configurable"]
    return str(values["thread_id"]), str(values.get("checkpoint_ns", ""))


async def find(cursor: Any, thread_id: str, space: str, checkpoint_id: str | None) -> Any:
    """The row of that checkpoint, or of the one written last."""
    if checkpoint_id:
        query = f"SELECT {_COLUMNS} {_WHERE} AND checkpoint_id = %s"
        await cursor.execute(query, (thread_id, space, checkpoint_id))
    else:
        query = f"SELECT {_COLUMNS} {_WHERE} ORDER BY position DESC LIMIT 1"
        await cursor.execute(query, (thread_id, space))
    return await cursor.fetchone()


async def page(cursor: Any, where: str, values: Sequence[Any], below: int, size: int) -> Any:
    """Rows in the order of writing, the latest first."""
    joined = f"{where} AND" if where else "WHERE"
    query = (
        f"SELECT {_COLUMNS} FROM checkpoints {joined} position < %s ORDER BY position DESC LIMIT %s"  # noqa: S608
    )
    await cursor.execute(query, (*values, below, size))
    return await cursor.fetchall()


async def position(cursor: Any, before: RunnableConfig) -> int:
    """Where that checkpoint stands in the order of writing; an unknown one stands before all."""
    query = "SELECT max(position) FROM checkpoints WHERE checkpoint_id = %s"
    values: tuple[Any, ...] = (get_checkpoint_id(before),)
    if thread_id := before["configurable"].get("thread_id"):
        query, values = f"{query} AND thread_id = %s", (*values, str(thread_id))
    await cursor.execute(query, values)
    return (await cursor.fetchone())[0] or 0


async def life_of(cursor: Any, thread_id: str, *, lock: bool = False) -> tuple[Life, int] | None:
    """The thread's life and last number; None when nothing of it is stored."""
    await cursor.execute(_LIFE + (" FOR UPDATE" if lock else ""), (thread_id,))
    row = await cursor.fetchone()
    return None if row is None else ((row[0], row[1]), row[2])


async def begin_life(cursor: Any, thread_id: str, last_number: int = 0) -> Life:
    """Make a thread's row, under a token that no earlier thread of that name had."""
    life = (secrets.randbits(62), 0)
    await cursor.execute(
        "INSERT INTO checkpoint_threads VALUES (%s, %s, %s, %s)", (thread_id, *life, last_number)
    )
    return life


async def keep(cursor: Any, splitter: Splitter, output: Output) -> None:
    """Note what an output is made of; what the checkpoint does not hold is stored beside it."""
    thread_id = output.thread_id
    found = await life_of(cursor, thread_id, lock=True)
    row = await find(cursor, thread_id, "", output.checkpoint_id)
    refs = output.held(row[8] if row else None)
    absent = output.lists.keys() - refs.keys()
    if absent:
        await cursor.execute(_LATEST_KEPT, (thread_id,))
        latest = await cursor.fetchone()
        earlier = ormsgpack.unpackb(latest[0]) if latest else {}
        reader = Reader(cursor, splitter)
        last = found[1] if found else 0
        for channel in sorted(absent):
            before = await reader.read_items(thread_id, earlier.get(channel, [""]))
            refs[channel], rows = output.added(channel, splitter, before, last)
            await cursor.executemany(_NEW_ITEMS, rows)
            last += len(rows)
        await cursor.execute(_LAST, (last, thread_id))
    await cursor.execute(_KEEP, (thread_id, output.name, ormsgpack.packb(refs)))


@dataclass
class NewCheckpoint(NewRow):
    """A checkpoint on its way into the database."""

    async def write(self, cursor: Any) -> Life:
        """Into the database; the thread's life. Raises StaleError when its items are gone."""
        found = await life_of(cursor, self.thread_id, lock=True)
        life, last = found or (None, 0)
        if life != self.life and not await self._still_there(cursor, life):
            raise StaleError
        if life is None:
            life = await begin_life(cursor, self.thread_id)
        numbered, last = self.number_items(last)
        if numbered:
            await cursor.executemany(_NEW_ITEMS, numbered)
            await cursor.execute(_LAST, (last, self.thread_id))
        own = (self.thread_id, self.space, self.id, self.parent, self.kind, self.content)
        seen = Jsonb({"v": 4, "id": self.id})
        await cursor.execute(_INSERT, (*own, self.metadata, self.refs(), time.time(), seen))
        return life

    async def _still_there(self, cursor: Any, life: Life | None) -> bool:
        numbers = self.known_numbers()
        if not numbers:
            return True
        if life is None or self.life is None or life[0] != self.life[0]:
            return False
        query = "SELECT count(*) FROM checkpoint_items WHERE thread_id = %s AND number = ANY(%s)"
        await cursor.execute(query, (self.thread_id, numbers))
        return bool((await cursor.fetchone())[0] == len(numbers))


class Reader:
    """Reads checkpoints of one statement or page; items that several share are read once.

    ``lend``: whether the objects of ``memo`` themselves are given out, or their like.
    """

    def __init__(
        self, cursor: Any, splitter: Splitter, memo: Memo | None = None, *, lend: Lend = Lend.NO
    ) -> None:
        self._cursor, self._splitter, self._memo = cursor, splitter, memo
        self._lend = lend
        self._items: dict[tuple[str, int], Item] = {}

    async def read(self, row: Sequence[Any]) -> Found:
        """The checkpoint of a row of ``_COLUMNS``."""
        _, thread_id, space, checkpoint_id, parent, kind, content, metadata, refs = row
        state = self._state(kind, content)
        life = await life_of(self._cursor, thread_id)
        memo = Memo(life[0] if life else None)
        for name, ref in (ormsgpack.unpackb(refs) if refs else {}).items():
            version = state["channel_versions"].get(name)
            known = remembered(self._memo, name, ref, version, memo)
            if known is not None and self._lend is not Lend.NO:
                value, pieces = self._splitter.lend(known, self._lend), known
            else:
                items = known.items if known else await self.read_items(thread_id, ref)
                value, pieces = self._splitter.join(ref, version, items)
            memo.channels[name] = pieces
            state["channel_values"][name] = value
        own = {"thread_id": thread_id, "checkpoint_ns": space}
        found = CheckpointTuple(
            {"configurable": {**own, "checkpoint_id": checkpoint_id}},
            state,
            metadata,
            {"configurable": {**own, "checkpoint_id": parent}} if parent else None,
            [
                (w[1], w[3], self.load(w))
                for w in await self._writes(thread_id, space, checkpoint_id)
            ],
        )
        return Found(found, memo)

    async def kept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]:
        """What was kept under that name, as ``show`` shows it."""
        await self._cursor.execute(_KEPT, (thread_id, name))
        row = await self._cursor.fetchone()
        life = await life_of(self._cursor, thread_id)
        found = {}
        for channel, ref in (ormsgpack.unpackb(row[0]) if row else {}).items():
            now = life[0] if life else None
            known = self._memo.items_of(channel, ref, now) if self._memo else None
            items = await self.read_items(thread_id, ref) if known is None else known
            found[channel] = self._splitter.shown(items, show)
        return found

    async def values_of(self, row: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
        """The values of those channels, of the ones that the row's checkpoint holds."""
        inline = self._state(row[5], row[6])["channel_values"]
        apart = ormsgpack.unpackb(row[8]) if row[8] else {}
        found = {name: inline[name] for name in names if name in inline}
        for name in apart.keys() & set(names):
            items = await self.read_items(row[1], apart[name])
            found[name] = self._splitter.join(apart[name], None, items)[0]
        return found

    def load(self, write: Sequence[Any]) -> Any:
        """The value of a row of writes."""
        return self._splitter.serde.loads_typed((write[4], bytes(write[5])))

    async def _writes(self, thread_id: str, space: str, checkpoint_id: str) -> list[Any]:
        await self._cursor.execute(_WRITES, (thread_id, space, checkpoint_id))
        return sorted(await self._cursor.fetchall(), key=lambda w: writes_sort_key(*w[:3]))

    def _state(self, kind: str | None, content: bytes | None) -> Any:
        if kind is None or content is None:
            raise CheckpointDataError("A checkpoint was written by another program.")
        serde = self._splitter.serde
        return serde.plain.loads_typed(serde.unseal(kind, bytes(content)))

    async def read_items(self, thread_id: str, ref: Ref) -> list[Item]:
        """The items of a ref."""
        cached, numbers = self._items, spread(ref[1:])
        if any((thread_id, number) not in cached for number in numbers):
            for first, last in zip(ref[1::2], ref[2::2], strict=True):
                await self._cursor.execute(_ITEMS, (thread_id, first, last))
                for number, kind, value in await self._cursor.fetchall():
                    if (thread_id, number) not in cached:
                        item = cached[thread_id, number] = self._splitter.read(kind, bytes(value))
                        item.number = number
        try:
            return [cached[thread_id, number] for number in numbers]
        except KeyError:
            raise CheckpointDataError(
                "A part of a checkpoint is missing.", data={"thread_id": thread_id}
            ) from None


async def history(
    cursor: Any, splitter: Splitter, at: tuple[str, str, str | None], channels: Sequence[str]
) -> dict[str, DeltaChannelHistory]:
    """LangGraph's ``get_delta_channel_history``: writes oldest first, ``seed`` where there is one."""
    thread_id, space, target = at
    found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
    reader, missing, seen = Reader(cursor, splitter), set(channels), set()
    row = await find(cursor, thread_id, space, target)
    while row is not None and row[4] is not None and missing and row[4] not in seen:
        seen.add(row[4])
        row = await find(cursor, thread_id, space, row[4])
        if row is None:
            break
        await cursor.execute(_WRITES, (thread_id, space, row[3]))
        writes = sorted(await cursor.fetchall(), key=lambda w: writes_sort_key(*w[:3]))
        for write in reversed(writes):
            if write[3] in missing:
                found[write[3]]["writes"].insert(0, (write[1], write[3], reader.load(write)))
        for name, value in (await reader.values_of(row, missing)).items():
            found[name]["seed"] = value
            missing.discard(name)
    return found
