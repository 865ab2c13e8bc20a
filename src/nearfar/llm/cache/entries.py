"""What a cache holds, and what was counted: all the SQL there is."""

import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OVERHEAD_BYTES = 300
"""Keys, times and index entries of one answer, about."""
MAX_COMPARED = 10_000
"""Stored turns of one context that a new one is compared with; the most recently used."""

_GET = """SELECT id, created, candidate, value FROM cache_entries
    WHERE cache = ? AND key = ? AND created > ?"""
_BY_ID = "SELECT id, created, candidate, value FROM cache_entries WHERE id = ?"
_NEAR = """SELECT id, vector, words, word_order FROM cache_entries
    WHERE cache = ? AND context = ? AND created > ? ORDER BY used DESC LIMIT ?"""
_PUT = """INSERT INTO cache_entries (cache, key, context, tenant, model, candidate, created, used,
    value, vector, words, word_order, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_OLDEST = "SELECT id, bytes FROM cache_entries WHERE cache = ? ORDER BY used, id"
_STANDING = """SELECT cache, entries, bytes, hits, misses, stored, evicted FROM cache_counts
    ORDER BY cache"""


@dataclass(frozen=True)
class Entry:
    """A stored answer."""

    id: int
    created: float
    candidate: str
    value: str
    similarity: float | None = None
    """Of its question to this one; None: it is the same."""


@dataclass(frozen=True)
class Turn:
    """The words of a request's last turn, as far as they are kept."""

    vector: "NDArray[np.float32]"
    words: bytes
    word_order: bytes


@dataclass(frozen=True)
class NewEntry:
    """An answer that is to be stored; ``context`` and ``turn`` where similar questions may have it."""

    key: bytes
    tenant: bytes
    model: str
    candidate: str
    value: str
    context: bytes | None = None
    turn: Turn | None = None

    @property
    def bytes(self) -> int:
        """What it takes in the file, about."""
        vector = self.turn.vector.nbytes if self.turn else 0
        return len(self.value.encode(errors="surrogatepass")) + vector + OVERHEAD_BYTES


@dataclass(frozen=True)
class CacheStats:
    """What a cache holds and has done since its file was made.

    ``evicted`` is None where a server makes space by its own rules and tells nobody.
    """

    name: str
    entries: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    stored: int = 0
    evicted: int | None = 0

    @property
    def hit_rate(self) -> float:
        """Hits among all requests; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


def get(connection: sqlite3.Connection, cache: str, key: bytes, after: float) -> Entry | None:
    """The answer to the same request that was stored after that time."""
    row = connection.execute(_GET, (cache, key, after)).fetchone()
    return Entry(*row) if row else None


def nearest(
    connection: sqlite3.Connection,
    cache: str,
    context: bytes,
    turn: Turn,
    *,
    after: float,
    threshold: float,
) -> Entry | None:
    """The answer to the most similar last turn in the same context, at or above the threshold."""
    import numpy as np

    rows = connection.execute(_NEAR, (cache, context, after, MAX_COMPARED)).fetchall()
    rows = [row for row in rows if len(row[1]) == turn.vector.nbytes]
    if not rows:
        return None
    stored = np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), -1)
    scores = stored @ turn.vector
    for place in np.argsort(-scores, kind="stable"):
        score = float(scores[place])
        if score < threshold:
            break
        number, _, words, word_order = rows[place]
        if words == turn.words and word_order != turn.word_order:
            continue  # "dollars to euros" is not "euros to dollars"
        found = connection.execute(_BY_ID, (number,)).fetchone()
        return replace(Entry(*found), similarity=min(score, 1.0)) if found else None
    return None


def put(
    connection: sqlite3.Connection,
    cache: str,
    entry: NewEntry,
    *,
    now: float,
    after: float,
    max_bytes: int,
) -> bool:
    """Store an answer, in a transaction; what is too old goes, and then what was used longest ago.

    False: it is larger than the whole cache may be.
    """
    size = entry.bytes
    if size > max_bytes:
        return False
    connection.execute("DELETE FROM cache_entries WHERE cache = ? AND key = ?", (cache, entry.key))
    turn = entry.turn
    values = (
        *(cache, entry.key, entry.context if turn else None, entry.tenant),
        *(entry.model, entry.candidate, now, now, entry.value),
        *((turn.vector.tobytes(), turn.words, turn.word_order) if turn else (None, None, None)),
        size,
    )
    gone = connection.execute(
        "DELETE FROM cache_entries WHERE cache = ? AND created <= ?", (cache, after)
    ).rowcount
    gone += _make_room(connection, cache, max_bytes - size)
    connection.execute(_PUT, values)
    count(connection, cache, stored=1, evicted=gone)
    return True


def _make_room(connection: sqlite3.Connection, cache: str, left: int) -> int:
    """Delete until the cache has no more than ``left`` bytes; how many went."""
    row = connection.execute("SELECT bytes FROM cache_counts WHERE cache = ?", (cache,)).fetchone()
    over = (row[0] if row else 0) - left
    going = []
    if over > 0:
        for number, size in connection.execute(_OLDEST, (cache,)):
            going.append((number,))
            over -= size
            if over <= 0:
                break
    connection.executemany("DELETE FROM cache_entries WHERE id = ?", going)
    return len(going)


def hit(connection: sqlite3.Connection, cache: str, number: int, now: float) -> None:
    """An answer was used."""
    connection.execute("UPDATE cache_entries SET used = ? WHERE id = ?", (now, number))
    count(connection, cache, hits=1)


def count(connection: sqlite3.Connection, cache: str, **more: int) -> None:
    """Add to the counts of a cache; the names are columns of ours."""
    connection.execute("INSERT OR IGNORE INTO cache_counts (cache) VALUES (?)", (cache,))
    sums = ", ".join(f"{name} = {name} + ?" for name in more)
    query = f"UPDATE cache_counts SET {sums} WHERE cache = ?"  # noqa: S608  (no value from outside)
    connection.execute(query, (*more.values(), cache))


def remove(
    connection: sqlite3.Connection,
    cache: str | None = None,
    *,
    model: str | None = None,
    tenant: bytes | None = None,
) -> int:
    """Delete the answers of a cache, a model (its id or its name in a router), a tenant, or all."""
    query = """DELETE FROM cache_entries WHERE (:cache IS NULL OR cache = :cache)
        AND (:model IS NULL OR model = :model OR candidate = :model)
        AND (:tenant IS NULL OR tenant = :tenant)"""
    values = {"cache": cache, "model": model, "tenant": tenant}
    return int(connection.execute(query, values).rowcount)


def standing(connection: sqlite3.Connection) -> list[CacheStats]:
    """What every cache of the file holds and has done, by name."""
    return [CacheStats(*row) for row in connection.execute(_STANDING)]
