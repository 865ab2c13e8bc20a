"""Which checkpoints of a thread must stay so that it goes on as if none had gone."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ormsgpack

from .items import Ref, Splitter

_DAY_S = 86_400.0
_MB = 2**20
_EVERY = 64  # steps of a thread between two looks at what it keeps

Key = tuple[str, str]  # namespace, checkpoint id


@dataclass(frozen=True)
class Node:
    """What pruning needs to know of a checkpoint."""

    position: int  # in the order of writing
    space: str
    id: str
    parent: str | None
    written_at: float
    root: str | None = None
    """Of a subgraph's call: the checkpoint of the whole graph that it started from."""
    pending: bool = False
    """Has writes of its own, such as the question to a person."""
    deltas: frozenset[str] = frozenset()
    """DeltaChannels that changed since they were stored whole."""
    stored: frozenset[str] = frozenset()
    """Channels with a value in the checkpoint."""
    versioned: frozenset[str] = field(default=frozenset())
    """Channels that ever had a value."""

    @property
    def key(self) -> Key:
        return self.space, self.id


@dataclass(frozen=True)
class Retention:
    """How much of a thread's history is kept; None is without limit. What it needs always stays."""

    checkpoints: int | None = None
    days: float | None = None
    thread_mb: float | None = None
    clock: Callable[[], float] = time.time

    @property
    def limited(self) -> bool:
        return (self.checkpoints, self.days, self.thread_mb) != (None, None, None)

    def exceeded(self, size: int) -> bool:
        """Whether so many bytes are too many."""
        return self.thread_mb is not None and size > self.thread_mb * _MB

    def due(self, space: str, step: object) -> bool:
        """Whether it is time to look at the thread: after every so many steps of its graph."""
        counted = isinstance(step, int) and step > 0 and step % _EVERY == 0
        return counted and space == "" and self.limited


def chosen_by(rule: Retention, nodes: Sequence[Node]) -> list[Node]:
    """What number and age leave, the newest last."""
    chosen = list(nodes)
    if rule.checkpoints is not None:
        chosen = chosen[max(0, len(chosen) - rule.checkpoints) :]
    if rule.days is not None:
        oldest = rule.clock() - rule.days * _DAY_S
        chosen = [node for node in chosen if node.written_at >= oldest]
    return chosen


def make_node(
    row: Sequence[Any],
    noted: Mapping[str, Any],
    pending: Collection[Any],
    splitter: Splitter | None,
) -> Node:
    """Of a row (position, namespace, id, parent, time, metadata, type, state, items).

    ``splitter`` reads what the state holds; it is needed where there are DeltaChannels.
    """
    position, space, checkpoint_id, parent, written_at, _, kind, content, refs = row
    stored: set[str] = set()
    versioned: set[str] = set()
    if splitter is not None:
        serde = splitter.serde
        state: Any = serde.plain.loads_typed(serde.unseal(kind, bytes(content)))
        stored = set(state["channel_values"]) | set(ormsgpack.unpackb(refs) if refs else ())
        versioned = set(state["channel_versions"])
    return Node(
        position,
        space,
        checkpoint_id,
        parent,
        written_at or 0.0,
        root=(noted.get("parents") or {}).get(""),
        pending=(space, checkpoint_id) in pending,
        deltas=frozenset(noted.get("counters_since_delta_snapshot") or ()),
        stored=frozenset(stored),
        versioned=frozenset(versioned),
    )


def gaps(refs: Iterable[Iterable[Ref]]) -> list[tuple[int, int]]:
    """The ranges of numbers between those that checkpoints are made of."""
    bounds = {
        pair for each in refs for ref in each for pair in zip(ref[1::2], ref[2::2], strict=True)
    }
    found, following = [], 1
    for first, last in sorted(bounds):
        if first > following:
            found.append((following, first - 1))
        following = max(following, last + 1)
    return [*found, (following, 2**62)]


def to_keep(
    nodes: Collection[Node], chosen: Iterable[Key], named: Collection[str] = ()
) -> set[Key]:
    """The chosen ones, every point that a run can go on from, and what these are computed from.

    A point to go on from is the latest checkpoint of the graph and of each subgraph that belongs to
    it, the end of a branch that has pending writes, and what ``named`` (ids of checkpoints) says.
    """
    by_key = {node.key: node for node in nodes}
    kept = {key for key in chosen if key in by_key} | _resumable(nodes, named)
    kept |= _calls(nodes, kept)
    return kept | foundations(by_key, kept)


def _resumable(nodes: Collection[Node], named: Collection[str]) -> set[Key]:
    latest: dict[str, Node] = {}
    for node in sorted(nodes, key=lambda n: n.position):
        latest[node.space] = node
    parents = {(node.space, node.parent) for node in nodes}
    found = {node.key for node in latest.values() if not _is_call(node)}
    for node in nodes:
        branch_waits = node.pending and node.key not in parents and not _is_call(node)
        if branch_waits or node.id in named:
            found.add(node.key)
    return found


def _is_call(node: Node) -> bool:
    """A subgraph's call has its task's id after a colon; its state ends with the call."""
    return ":" in node.space


def _calls(nodes: Collection[Node], kept: Collection[Key]) -> set[Key]:
    """The latest checkpoint of each call whose root is kept, or is not written yet."""
    roots = {node.id for node in nodes if node.space == ""}
    latest: dict[str, Node] = {}
    for node in sorted(nodes, key=lambda n: n.position):
        if _is_call(node):
            latest[node.space] = node
    return {
        node.key
        for node in latest.values()
        if node.root is None or node.root not in roots or ("", node.root) in kept
    }


def foundations(by_key: Mapping[Key, Node], kept: Collection[Key]) -> set[Key]:
    """Ancestors down to where each DeltaChannel of a kept checkpoint was stored whole."""
    deltas: dict[str, set[str]] = {}
    for node in by_key.values():
        deltas.setdefault(node.space, set()).update(node.deltas)
    found: set[Key] = set()
    for key in kept:
        node = by_key[key]
        missing = (deltas[node.space] & node.versioned) - node.stored
        seen = {key}
        while missing and node.parent is not None:
            above = by_key.get((node.space, node.parent))
            if above is None or above.key in seen:
                break
            node = above
            seen.add(node.key)
            found.add(node.key)
            missing -= node.stored
    return found
