"""Deleting, copying and pruning threads in Postgres. All of it runs inside a write's transaction."""

from collections.abc import Collection, Sequence
from typing import Any

import ormsgpack

from .items import Splitter
from .postgres_rows import begin_life, life_of
from .pruning import Key, Node, Retention, chosen_by, foundations, gaps, make_node, to_keep

_TABLES = (
    "checkpoints",
    "checkpoint_writes",
    "checkpoint_blobs",
    "checkpoint_outputs",
    "checkpoint_items",
)
_COPIES = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, state, metadata,"
    " items, written_at, checkpoint",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob",
    "checkpoint_items": "number, type, value",
}
_NODES = (
    "SELECT position, checkpoint_ns, checkpoint_id, parent_checkpoint_id, written_at, metadata,"
    " type, state, items FROM checkpoints WHERE thread_id = %s ORDER BY position"
)
_SIZE = (
    "SELECT (SELECT coalesce(sum(length(state) + length(metadata::text)), 0) FROM checkpoints"
    " WHERE thread_id = %(t)s) + (SELECT coalesce(sum(length(blob) + 150), 0) FROM"
    " checkpoint_writes WHERE thread_id = %(t)s) + (SELECT coalesce(sum(length(value) + 50), 0)"
    " FROM checkpoint_items WHERE thread_id = %(t)s)"
)


async def delete_thread(cursor: Any, thread_id: str) -> None:
    """All that is stored of it."""
    for table in (*_TABLES, "checkpoint_threads"):
        await cursor.execute(f"DELETE FROM {table} WHERE thread_id = %s", (thread_id,))  # noqa: S608


async def copy_thread(cursor: Any, source: str, target: str) -> None:
    """All of ``source`` under the name ``target``, in place of what was there."""
    await delete_thread(cursor, target)
    life = await life_of(cursor, source, lock=True)
    if life is not None:
        await begin_life(cursor, target, life[1])
    for table, columns in _COPIES.items():
        order = " ORDER BY position" if table == "checkpoints" else ""
        await cursor.execute(
            f"INSERT INTO {table} (thread_id, {columns})"  # noqa: S608
            f" SELECT %s, {columns} FROM {table} WHERE thread_id = %s{order}",
            (target, source),
        )


async def release(cursor: Any, thread_id: str, names: Sequence[str]) -> None:
    """Forget what was kept under those names; its items go when the thread is pruned next."""
    query = "DELETE FROM checkpoint_outputs WHERE thread_id = %s AND name = ANY(%s)"
    await cursor.execute(query, (thread_id, list(names)))


async def threads_of_runs(cursor: Any, run_ids: Sequence[str]) -> list[str]:
    """The threads that have checkpoints of those runs."""
    query = "SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY(%s)"
    await cursor.execute(query, (list(run_ids),))
    return [row[0] for row in await cursor.fetchall()]


async def delete_runs(
    cursor: Any, thread_id: str, run_ids: Collection[str], splitter: Splitter
) -> None:
    """Their checkpoints, but for those that a checkpoint of another run is computed from."""
    await life_of(cursor, thread_id, lock=True)
    query = (
        "SELECT checkpoint_ns, checkpoint_id, metadata ->> 'run_id' FROM checkpoints"
        " WHERE thread_id = %s"
    )
    await cursor.execute(query, (thread_id,))
    others = {(row[0], row[1]) for row in await cursor.fetchall() if row[2] not in run_ids}
    nodes = {node.key: node for node in await read_nodes(cursor, thread_id, splitter)}
    await drop(cursor, thread_id, nodes.keys() - others - foundations(nodes, others))


async def retain(
    cursor: Any,
    thread_id: str,
    rule: Retention,
    splitter: Splitter,
    named: Collection[str] = (),
) -> int:
    """Drop what ``rule`` does not keep; how many checkpoints that were."""
    await life_of(cursor, thread_id, lock=True)
    nodes = await read_nodes(cursor, thread_id, splitter)
    chosen = chosen_by(rule, nodes)
    dropped = 0
    while True:
        kept = to_keep(nodes, [n.key for n in chosen], named)
        dropped += await drop(cursor, thread_id, {n.key for n in nodes} - kept)
        nodes = [node for node in nodes if node.key in kept]
        if not chosen or not rule.exceeded(await size(cursor, thread_id)):
            return dropped
        chosen = chosen[(len(chosen) + 3) // 4 :]


async def size(cursor: Any, thread_id: str) -> int:
    """About how many bytes the thread takes."""
    await cursor.execute(_SIZE, {"t": thread_id})
    return int((await cursor.fetchone())[0])


async def read_nodes(cursor: Any, thread_id: str, splitter: Splitter) -> list[Node]:
    """The thread's checkpoints in the order of writing."""
    query = (
        "SELECT DISTINCT checkpoint_ns, checkpoint_id FROM checkpoint_writes WHERE thread_id = %s"
    )
    await cursor.execute(query, (thread_id,))
    pending = set(await cursor.fetchall())
    await cursor.execute(_NODES, (thread_id,))
    rows = await cursor.fetchall()
    deltas = any(row[5].get("counters_since_delta_snapshot") for row in rows)
    return [make_node(row, row[5], pending, splitter if deltas else None) for row in rows]


async def drop(cursor: Any, thread_id: str, gone: Collection[Key]) -> int:
    """Delete those checkpoints, their writes, and the items that no other one is made of."""
    if not gone:
        return 0
    keys = [(thread_id, *key) for key in gone]
    where = "thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s"
    await cursor.executemany(f"DELETE FROM checkpoints WHERE {where}", keys)  # noqa: S608
    await cursor.executemany(f"DELETE FROM checkpoint_writes WHERE {where}", keys)  # noqa: S608
    await cursor.execute(
        "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = %(t)s"
        " AND parent_checkpoint_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM checkpoints p"
        " WHERE p.thread_id = %(t)s AND p.checkpoint_ns = checkpoints.checkpoint_ns"
        " AND p.checkpoint_id = checkpoints.parent_checkpoint_id)",
        {"t": thread_id},
    )
    query = (
        "SELECT items FROM checkpoints WHERE thread_id = %(t)s AND items IS NOT NULL"
        " UNION ALL SELECT items FROM checkpoint_outputs WHERE thread_id = %(t)s"
    )
    await cursor.execute(query, {"t": thread_id})
    refs = [ormsgpack.unpackb(row[0]).values() for row in await cursor.fetchall()]
    await cursor.executemany(
        "DELETE FROM checkpoint_items WHERE thread_id = %s AND number BETWEEN %s AND %s",
        [(thread_id, *gap) for gap in gaps(refs)],
    )
    await cursor.execute(
        "UPDATE checkpoint_threads SET pruned = pruned + 1 WHERE thread_id = %s", (thread_id,)
    )
    return len(keys)
