"""The checkpointer for SQLite."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from nearfar.errors import StorageError
from nearfar.storage.database import connect

from . import upkeep
from .delta import history
from .extended import ExtendedSaver, lent
from .items import Memo, Output, Sealing, Show
from .pruning import Retention
from .rows import COLUMNS, INSERT_WRITES, Found, NewCheckpoint, Reader, keep
from .schema import prepare
from .versions import next_version
from .writer import Guard, StaleError, Writer

T = TypeVar("T")

_LATEST = (
    f"SELECT {COLUMNS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"  # noqa: S608 - our own words
    " ORDER BY rowid DESC LIMIT 1"
)
_ONE = (
    f"SELECT {COLUMNS} FROM checkpoints"  # noqa: S608 - our own words
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)
_HEAD = (
    "SELECT checkpoint_id, metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
    " ORDER BY rowid DESC LIMIT 1"
)
_ANY = "SELECT type, checkpoint FROM checkpoints WHERE type IS NOT NULL LIMIT 1"
_PAGE = 50  # checkpoints that ``alist`` reads at a time


class SqliteSaver(ExtendedSaver, AsyncSqliteSaver):
    """LangGraph's checkpointer over SQLite, with its tables, written in groups and in pieces.

    Made by ``open``, inside an event loop. ``guard`` is called in each write transaction.
    A write that is awaited is committed. Raises StorageError and what is below it.
    """

    def __init__(
        self,
        path: Path,
        *,
        serde: Sealing,
        durable: bool = True,
        guard: Guard | None = None,
        retention: Retention | None = None,
    ) -> None:
        # The base class keeps an aiosqlite connection and a serializer; all that uses the first is
        # overridden here: a thread of our own costs a third of the CPU.
        super().__init__(cast("Any", None), serde=cast("Any", serde))
        self.is_setup = True
        self.path = path
        self._prepare(serde, retention, guard)
        self._writer = Writer(path, durable=durable)
        self._source = connect(path)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="nearfar-checkpoint-reader")

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, **options: Any) -> "AsyncIterator[SqliteSaver]":
        """The database at ``path``, with its tables made, open for the length of the block."""
        await asyncio.to_thread(prepare, path)
        saver = cls(path, **options)
        try:
            await saver.check()
            yield saver
        finally:
            await asyncio.to_thread(saver.close)

    async def check(self) -> None:
        """Read one checkpoint. Raises EncryptionError when it was written with another key."""
        row = await self._read(lambda c: c.execute(_ANY).fetchone())
        if row is not None:
            self.serde.loads_typed(row)

    async def setup(self) -> None:
        """Nothing: the tables are made with the object."""

    def close(self) -> None:
        """Write what waits, and close the database. Not for an event loop's thread."""
        self._writer.close()
        self._readers.shutdown()
        self._source.close()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread_id, space = _place(config)
        checkpoint_id = get_checkpoint_id(config)
        memo = self._memos.get(thread_id, space)
        lend = lent(config)
        key = (thread_id, space, checkpoint_id) if checkpoint_id else (thread_id, space)

        def read(connection: sqlite3.Connection) -> Found | None:
            row = connection.execute(_ONE if checkpoint_id else _LATEST, key).fetchone()
            reader = Reader(connection, self._splitter, memo, lend=lend)
            return None if row is None else reader.read(row)

        found = await self._read(read)
        if found is None:
            return None
        self._memos.put(thread_id, space, found.memo)
        return found.checkpoint

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        where, values = search_where(config, filter, None)
        joined = f"{where} AND" if where else "WHERE"
        below = await self._read(lambda c: _position(c, before)) if before else 2**63 - 1
        query = f"SELECT {COLUMNS} FROM checkpoints {joined} rowid < ? ORDER BY rowid DESC LIMIT ?"  # noqa: S608
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(_PAGE, limit)

            def page(
                connection: sqlite3.Connection, below: int = below, size: int = size
            ) -> list[tuple[int, CheckpointTuple]]:
                rows = connection.execute(query, (*values, below, size)).fetchall()
                reader = Reader(connection, self._splitter)
                return [(row[0], reader.read(row).checkpoint) for row in rows]

            found = await self._read(page)
            for _, checkpoint in found:
                yield checkpoint
            if len(found) < size:
                return
            below = found[-1][0]
            limit = None if limit is None else limit - size

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        thread_id, space = _place(config)
        noted = get_checkpoint_metadata(config, metadata)
        text = json.dumps(noted, ensure_ascii=False).encode("utf-8", "ignore")
        parent = config["configurable"].get("checkpoint_id")
        memo = self._memos.get(thread_id, space)
        while True:
            inline, pieces = self._splitter.split(
                checkpoint["channel_values"], checkpoint["channel_versions"], new_versions, memo
            )
            kind, content = self.serde.dumps_typed({**checkpoint, "channel_values": inline})
            row = NewCheckpoint(
                thread_id, space, checkpoint["id"], parent, kind, content, text, pieces, memo.life
            )
            new = Memo(memo.life, dict(pieces), self._is_untouched(space, metadata))
            self._memos.put(thread_id, space, new)
            try:
                new.life = await self._write((thread_id,), row.write, row.settle)
            except StaleError:  # another program pruned the thread: nothing of it is known here
                memo = Memo()
                continue
            except BaseException:
                self._memos.drop([thread_id])
                raise
            break
        if self._retention.due(space, metadata.get("step")):
            await self.aretain(thread_id)
        place = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": space}
        return {"configurable": {**place, "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        thread_id, space = _place(config)
        own = (thread_id, space, str(config["configurable"]["checkpoint_id"]), task_id, task_path)
        rows = [
            (*own, WRITES_IDX_MAP.get(channel, n), channel, *self.serde.dumps_typed(value))
            for n, (channel, value) in enumerate(writes)
        ]
        special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        query = f"INSERT OR {'REPLACE' if special else 'IGNORE'} {INSERT_WRITES}"
        await self._write((thread_id,), lambda c: _insert(c, query, rows))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if not channels:
            return {}
        thread_id, space = _place(config)
        target = get_checkpoint_id(config)
        return await self._read(
            lambda c: history(c, self._splitter, thread_id, space, target, channels=list(channels))
        )

    async def _head(self, thread_id: str) -> tuple[str, Mapping[str, Any]] | None:
        row = await self._read(lambda c: c.execute(_HEAD, (thread_id,)).fetchone())
        return None if row is None else (row[0], json.loads(row[1]) if row[1] else {})

    async def _keep(self, output: Output) -> None:
        await self._write((output.thread_id,), lambda c: keep(c, self._splitter, output))

    async def _kept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]:
        memo = self._memos.get(thread_id, "")
        return await self._read(
            lambda c: Reader(c, self._splitter, memo).kept(thread_id, name, show)
        )

    async def _release(self, thread_id: str, names: Sequence[str]) -> None:
        await self._write((thread_id,), lambda c: upkeep.release(c, thread_id, names))

    async def _delete(self, thread_id: str) -> None:
        await self._write((thread_id,), lambda c: upkeep.delete_threads(c, (thread_id,)))

    async def _threads_of_runs(self, run_ids: Sequence[str]) -> list[str]:
        return await self._read(lambda c: upkeep.threads_of_runs(c, run_ids))

    async def _delete_runs(self, thread_id: str, run_ids: Sequence[str]) -> None:
        await self._write(
            (thread_id,), lambda c: upkeep.delete_runs(c, (thread_id,), run_ids, self._splitter)
        )

    async def _copy(self, source: str, target: str) -> None:
        await self._write((target,), lambda c: upkeep.copy_thread(c, source, target))

    async def _retain(self, thread_id: str, rule: Retention, named: Sequence[str]) -> int:
        return await self._write(
            (thread_id,), lambda c: upkeep.retain(c, thread_id, rule, self._splitter, named)
        )

    def get_next_version(self, current: str | None, channel: None) -> str:
        return next_version(current, super().get_next_version, channel)

    async def _write(
        self,
        thread_ids: tuple[str, ...],
        run: Callable[[sqlite3.Connection], T],
        settle: Callable[[bool], None] | None = None,
    ) -> T:
        return await self._writer.write(thread_ids, run, guard=self._guard, settle=settle)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def snapshot() -> T:
            self._source.execute("BEGIN")  # all of a read sees one state
            try:
                return work(self._source)
            finally:
                self._source.execute("ROLLBACK")

        try:
            return await self.loop.run_in_executor(self._readers, snapshot)
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise StorageError(
                "The checkpointer is closed.", data={"path": str(self.path)}
            ) from error


def _place(config: RunnableConfig) -> tuple[str, str]:
    values = config["configurable"]
    return str(values["thread_id"]), str(values.get("checkpoint_ns", ""))


def _insert(connection: sqlite3.Connection, query: str, rows: list[Any]) -> None:
    connection.executemany(query, rows)


def _position(connection: sqlite3.Connection, before: RunnableConfig) -> int:
    """Where that checkpoint stands in the order of writing; an unknown one stands before all."""
    query = "SELECT max(rowid) FROM checkpoints WHERE checkpoint_id = ?"
    values: tuple[Any, ...] = (get_checkpoint_id(before),)
    if thread_id := before["configurable"].get("thread_id"):
        query, values = f"{query} AND thread_id = ?", (*values, str(thread_id))
    return connection.execute(query, values).fetchone()[0] or 0
