"""What a DeltaChannel's value is made of: the nearest stored value, and the writes since."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory, writes_sort_key

from .items import Splitter
from .rows import Reader

_CHAIN = (
    "WITH RECURSIVE chain(id, parent, type, checkpoint, items) AS ("
    " SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, items FROM checkpoints"
    " WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3"
    " UNION ALL SELECT c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint, c.items"
    " FROM chain CROSS JOIN checkpoints c ON c.checkpoint_id = chain.parent"
    " WHERE c.thread_id = ?1 AND c.checkpoint_ns = ?2)"
    " SELECT id, type, checkpoint, items FROM chain"
)
_LATEST = (
    "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
    " ORDER BY rowid DESC LIMIT 1"
)
_WRITES = (
    "SELECT task_path, task_id, idx, type, value FROM writes"
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND channel = ?"
)


def history(
    connection: sqlite3.Connection,
    splitter: Splitter,
    thread_id: str,
    space: str,
    target: str | None,
    *,
    channels: Sequence[str],
) -> dict[str, DeltaChannelHistory]:
    """LangGraph's ``get_delta_channel_history``: writes oldest first, ``seed`` where there is one."""
    if target is None:
        row = connection.execute(_LATEST, (thread_id, space)).fetchone()
        target = None if row is None else row[0]
    found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
    reader = Reader(connection, splitter)
    missing = set(channels)
    steps: dict[str, list[Any]] = {name: [] for name in channels}  # nearest first
    for checkpoint_id, kind, content, refs in _ancestors(connection, thread_id, space, target):
        for name in missing:
            key = (thread_id, space, checkpoint_id, name)
            steps[name].append(connection.execute(_WRITES, key).fetchall())
        stored = reader.values_of(thread_id, kind, content, refs, missing)
        for name, value in stored.items():
            found[name]["seed"] = value
            missing.discard(name)
        if not missing:
            break
    for name in channels:
        for rows in reversed(steps[name]):
            for _, task_id, _, kind, value in sorted(rows, key=lambda r: writes_sort_key(*r[:3])):
                found[name]["writes"].append(
                    (task_id, name, reader.splitter.serde.loads_typed((kind, value)))
                )
    return found


def _ancestors(
    connection: sqlite3.Connection, thread_id: str, space: str, target: str | None
) -> Iterator[tuple[str, str, bytes, bytes]]:
    """From the target's parent to the root; a chain that was made a loop ends where it began."""
    seen: set[str] = set()
    for row in connection.execute(_CHAIN, (thread_id, space, target)):
        if row[0] in seen:
            return
        seen.add(row[0])
        if row[0] != target:
            yield row
