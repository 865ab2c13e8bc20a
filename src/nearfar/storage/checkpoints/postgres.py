"""The checkpointer for Postgres: the rows and pieces of the one for SQLite, in another database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from nearfar.storage.pools import SteadyAsyncPool
from nearfar.storage.postgres import WAIT_S, postgres_errors

from . import postgres_rows as rows
from . import postgres_upkeep as upkeep
from .extended import ExtendedSaver, lent
from .items import Memo, Output, Sealing, Show
from .pruning import Retention
from .writer import StaleError

T = TypeVar("T")
Cursor = psycopg.AsyncCursor[Any]
Guard = Callable[[Cursor, str], Awaitable[None]]
"""Awaited in each write transaction, with its thread id, before anything is written."""
Work = Callable[[Cursor], Awaitable[T]]

_PAGE = 50  # checkpoints that ``alist`` reads at a time
_SETUP_LOCK = 0x6E656172  # any number; programs that start together make the tables one by one
_SETUP_WAIT_S = 0.05


async def _hold(connection: Any, lock: int) -> None:
    """Ask again and again: LangGraph makes its indexes concurrently, which waits for all statements
    that run, and so for one that waits for this lock.
    """
    while True:
        held = await connection.execute("SELECT pg_try_advisory_lock(%s)", (lock,))
        if (await held.fetchone())[0]:
            return
        await asyncio.sleep(_SETUP_WAIT_S)


class PostgresSaver(ExtendedSaver, AsyncPostgresSaver):
    """LangGraph's checkpointer over Postgres, with long values in pieces.

    Made by ``open``. ``guard`` is awaited in each write transaction. A write that is awaited is
    committed. Raises StorageError and what is below it.
    """

    def __init__(
        self,
        pool: Any,
        *,
        serde: Sealing,
        guard: Guard | None = None,
        retention: Retention | None = None,
    ) -> None:
        super().__init__(pool, serde=cast("Any", serde))
        self._pool = pool
        self._prepare(serde, retention, guard)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, connections: int = 8, **options: Any
    ) -> "AsyncIterator[PostgresSaver]":
        """The database at ``url``, with its tables made, open for the length of the block."""
        settings = {"autocommit": True, "prepare_threshold": 5}
        pool: Any = SteadyAsyncPool(
            url,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=WAIT_S,
            kwargs=settings,
        )
        with postgres_errors():
            await pool.open(wait=True, timeout=WAIT_S)
        try:
            saver = cls(pool, **options)
            await saver.setup()
            yield saver
        finally:
            await pool.close()

    async def setup(self) -> None:
        with postgres_errors():
            async with self._pool.connection() as connection:
                await _hold(connection, _SETUP_LOCK)
                try:
                    await super().setup()
                    for statement in rows.TABLES:
                        await connection.execute(statement)
                finally:
                    await connection.execute("SELECT pg_advisory_unlock(%s)", (_SETUP_LOCK,))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread_id, space = rows.place(config)
        memo = self._memos.get(thread_id, space)
        checkpoint_id, lend = get_checkpoint_id(config), lent(config)

        async def read(cursor: Cursor) -> Any:
            found = await rows.find(cursor, thread_id, space, checkpoint_id)
            reader = rows.Reader(cursor, self._splitter, memo, lend=lend)
            return None if found is None else await reader.read(found)

        found = await self._read(read)
        if found is None:
            return None
        self._memos.put(thread_id, space, found.memo)
        return cast("CheckpointTuple", found.checkpoint)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the base class's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        where, values = self._search_where(config, filter, None)
        below = await self._read(lambda c: rows.position(c, before)) if before else 2**62
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(_PAGE, limit)

            async def page(cursor: Cursor, below: int = below, size: int = size) -> Any:
                found = await rows.page(cursor, where, values, below, size)
                reader = rows.Reader(cursor, self._splitter)
                return [(row[0], (await reader.read(row)).checkpoint) for row in found]

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
        thread_id, space = rows.place(config)
        noted = Jsonb(get_serializable_checkpoint_metadata(config, metadata))
        parent = config["configurable"].get("checkpoint_id")
        memo = self._memos.get(thread_id, space)
        while True:
            inline, pieces = self._splitter.split(
                checkpoint["channel_values"], checkpoint["channel_versions"], new_versions, memo
            )
            kind, content = self.serde.dumps_typed({**checkpoint, "channel_values": inline})
            row = rows.NewCheckpoint(
                thread_id, space, checkpoint["id"], parent, kind, content, noted, pieces, memo.life
            )
            try:
                life = await self._write((thread_id,), row.write)
            except StaleError:  # another program pruned the thread: nothing of it is known here
                row.settle(committed=False)
                memo = Memo()
                continue
            except BaseException:
                row.settle(committed=False)
                self._memos.drop([thread_id])
                raise
            row.settle(committed=True)
            new = Memo(life, dict(pieces), self._is_untouched(space, metadata))
            self._memos.put(thread_id, space, new)
            break
        if self._retention.due(space, metadata.get("step")):
            await self.aretain(thread_id)
        own = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": space}
        return {"configurable": {**own, "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        thread_id, space = rows.place(config)
        own = (thread_id, space, str(config["configurable"]["checkpoint_id"]), task_id, task_path)
        values = [
            (*own, WRITES_IDX_MAP.get(channel, n), channel, *self.serde.dumps_typed(value))
            for n, (channel, value) in enumerate(writes)
        ]
        special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        query = self.UPSERT_CHECKPOINT_WRITES_SQL if special else self.INSERT_CHECKPOINT_WRITES_SQL
        await self._write((thread_id,), lambda c: c.executemany(query, values))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if not channels:
            return {}
        thread_id, space = rows.place(config)
        target, names = get_checkpoint_id(config), list(channels)
        return await self._read(
            lambda c: rows.history(c, self._splitter, (thread_id, space, target), names)
        )

    async def _head(self, thread_id: str) -> tuple[str, Mapping[str, Any]] | None:
        row = await self._read(lambda c: rows.find(c, thread_id, "", None))
        return None if row is None else (row[3], row[7])

    async def _keep(self, output: Output) -> None:
        await self._write((output.thread_id,), lambda c: rows.keep(c, self._splitter, output))

    async def _kept(self, thread_id: str, name: str, show: Show) -> dict[str, list[Any]]:
        memo = self._memos.get(thread_id, "")
        return await self._read(
            lambda c: rows.Reader(c, self._splitter, memo).kept(thread_id, name, show)
        )

    async def _release(self, thread_id: str, names: Sequence[str]) -> None:
        await self._write((thread_id,), lambda c: upkeep.release(c, thread_id, names))

    async def _delete(self, thread_id: str) -> None:
        await self._write((thread_id,), lambda c: upkeep.delete_thread(c, thread_id))

    async def _threads_of_runs(self, run_ids: Sequence[str]) -> list[str]:
        return await self._read(lambda c: upkeep.threads_of_runs(c, run_ids))

    async def _delete_runs(self, thread_id: str, run_ids: Sequence[str]) -> None:
        await self._write(
            (thread_id,), lambda c: upkeep.delete_runs(c, thread_id, run_ids, self._splitter)
        )

    async def _copy(self, source: str, target: str) -> None:
        await self._write((target,), lambda c: upkeep.copy_thread(c, source, target))

    async def _retain(self, thread_id: str, rule: Retention, named: Sequence[str]) -> int:
        return await self._write(
            (thread_id,), lambda c: upkeep.retain(c, thread_id, rule, self._splitter, named)
        )

    @asynccontextmanager
    async def _cursor_in_transaction(self) -> AsyncIterator[Cursor]:
        async with (
            self._pool.connection() as connection,
            connection.transaction(),
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            yield cursor

    async def _read(self, work: Work[T]) -> T:
        with postgres_errors():
            async with self._cursor_in_transaction() as cursor:
                await cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return await work(cursor)

    async def _write(self, thread_ids: Sequence[str], work: Work[T]) -> T:
        with postgres_errors():
            async with self._cursor_in_transaction() as cursor:
                if self._guard is not None:
                    for thread_id in thread_ids:
                        await self._guard(cursor, thread_id)
                return await work(cursor)
