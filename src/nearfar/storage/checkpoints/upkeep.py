"""Deleting, copying and pruning threads in SQLite. All of it runs inside the writer's transaction."""

import json
import sqlite3
from collections.abc import Collection, Sequence

import ormsgpack

from .items import Splitter
from .pruning import Key, Node, Retention, chosen_by, foundations, gaps, make_node, to_keep
from .rows import begin_life

_TABLES = ("checkpoints", "writes", "checkpoint_outputs", "checkpoint_items", "checkpoint_threads")
_COPIES = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,"
    " metadata, items, written_at",
    "writes": "checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value, task_path",
    "checkpoint_items": "number, type, value",
}
_NODES = (
    "SELECT rowid, checkpoint_ns, checkpoint_id, parent_checkpoint_id, written_at, metadata, type,"
    " checkpoint, items FROM checkpoints WHERE thread_id = ? ORDER BY rowid"
)
_PENDING = "SELECT DISTINCT checkpoint_ns, checkpoint_id FROM writes WHERE thread_id = ?"
_SIZE = (
    "SELECT (SELECT coalesce(sum(length(checkpoint) + length(metadata)), 0) FROM checkpoints"
    " WHERE thread_id = ?1) + (SELECT coalesce(sum(length(value) + 150), 0) FROM writes"
    " WHERE thread_id = ?1) + (SELECT coalesce(sum(length(value) + 50), 0) FROM checkpoint_items"
    " WHERE thread_id = ?1)"
)


def delete_threads(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> None:
    """All that is stored of them."""
    for thread_id in thread_ids:
        for table in _TABLES:
            connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))  # noqa: S608


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    """All of ``source`` under the name ``target``, in place of what was there."""
    delete_threads(connection, [target])
    last = connection.execute(
        "SELECT last_number FROM checkpoint_threads WHERE thread_id = ?", (source,)
    ).fetchone()
    if last is not None:
        begin_life(connection, target, last[0])
    for table, columns in _COPIES.items():
        order = " ORDER BY rowid" if table == "checkpoints" else ""
        connection.execute(
            f"INSERT INTO {table} (thread_id, {columns})"  # noqa: S608
            f" SELECT ?, {columns} FROM {table} WHERE thread_id = ?{order}",
            (target, source),
        )


def release(connection: sqlite3.Connection, thread_id: str, names: Sequence[str]) -> None:
    """Forget what was kept under those names; its items go when the thread is pruned next."""
    connection.executemany(
        "DELETE FROM checkpoint_outputs WHERE thread_id = ? AND name = ?",
        [(thread_id, name) for name in names],
    )


def threads_of_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[str]:
    """The threads that have checkpoints of those runs."""
    query = (
        "SELECT DISTINCT thread_id FROM checkpoints WHERE"
        " json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(?))"
    )
    return [row[0] for row in connection.execute(query, (json.dumps(list(run_ids)),))]


def delete_runs(
    connection: sqlite3.Connection,
    thread_ids: Sequence[str],
    run_ids: Collection[str],
    splitter: Splitter,
) -> None:
    """Their checkpoints, but for those that a checkpoint of another run is computed from."""
    query = (
        "SELECT checkpoint_ns, checkpoint_id, json_extract(CAST(metadata AS TEXT), '$.run_id')"
        " FROM checkpoints WHERE thread_id = ?"
    )
    for thread_id in thread_ids:
        rows = connection.execute(query, (thread_id,)).fetchall()
        others = {(space, key) for space, key, run_id in rows if run_id not in run_ids}
        nodes = {node.key: node for node in read_nodes(connection, thread_id, splitter)}
        drop(connection, thread_id, nodes.keys() - others - foundations(nodes, others))


def retain(
    connection: sqlite3.Connection,
    thread_id: str,
    rule: Retention,
    splitter: Splitter,
    named: Collection[str] = (),
) -> int:
    """Drop what ``rule`` does not keep; how many checkpoints that were."""
    nodes = read_nodes(connection, thread_id, splitter)
    chosen = chosen_by(rule, nodes)
    dropped = 0
    while True:
        kept = to_keep(nodes, [n.key for n in chosen], named)
        dropped += drop(connection, thread_id, {n.key for n in nodes} - kept)
        nodes = [node for node in nodes if node.key in kept]
        if not chosen or not rule.exceeded(size(connection, thread_id)):
            return dropped
        chosen = chosen[(len(chosen) + 3) // 4 :]


def size(connection: sqlite3.Connection, thread_id: str) -> int:
    """About how many bytes the thread takes."""
    found: int = connection.execute(_SIZE, (thread_id,)).fetchone()[0]
    return found


def read_nodes(connection: sqlite3.Connection, thread_id: str, splitter: Splitter) -> list[Node]:
    """The thread's checkpoints in the order of writing."""
    pending = set(connection.execute(_PENDING, (thread_id,)))
    rows = connection.execute(_NODES, (thread_id,)).fetchall()
    noted = [json.loads(row[5]) if row[5] else {} for row in rows]
    deltas = any(note.get("counters_since_delta_snapshot") for note in noted)
    needed = splitter if deltas else None
    return [make_node(row, note, pending, needed) for row, note in zip(rows, noted, strict=True)]


def drop(connection: sqlite3.Connection, thread_id: str, gone: Collection[Key]) -> int:
    """Delete those checkpoints, their writes, and the items that no other one is made of."""
    if not gone:
        return 0
    keys = [(thread_id, *key) for key in gone]
    where = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
    connection.executemany(f"DELETE FROM checkpoints WHERE {where}", keys)  # noqa: S608
    connection.executemany(f"DELETE FROM writes WHERE {where}", keys)  # noqa: S608
    connection.execute(
        "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = ?1"
        " AND parent_checkpoint_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM checkpoints p"
        " WHERE p.thread_id = ?1 AND p.checkpoint_ns = checkpoints.checkpoint_ns"
        " AND p.checkpoint_id = checkpoints.parent_checkpoint_id)",
        (thread_id,),
    )
    _collect(connection, thread_id)
    return len(keys)


def _collect(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete the items between the ranges that checkpoints and outputs are made of."""
    query = (
        "SELECT items FROM checkpoints WHERE thread_id = ?1 AND items IS NOT NULL"
        " UNION ALL SELECT items FROM checkpoint_outputs WHERE thread_id = ?1"
    )
    refs = [ormsgpack.unpackb(row[0]).values() for row in connection.execute(query, (thread_id,))]
    connection.executemany(
        "DELETE FROM checkpoint_items WHERE thread_id = ? AND number BETWEEN ? AND ?",
        [(thread_id, *gap) for gap in gaps(refs)],
    )
    connection.execute(
        "UPDATE checkpoint_threads SET pruned = pruned + 1 WHERE thread_id = ?", (thread_id,)
    )
