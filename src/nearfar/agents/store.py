"""A LangGraph store in nearfar.db, with search by meaning.

LangGraph's own SQLite store needs an extension that Python cannot load everywhere (macOS' own Python
cannot), and an event loop when it is made. Here vectors are rows, and numpy compares them: some
ten thousand memories of one user take a few milliseconds.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
)

from nearfar.settings import Settings, resolve
from nearfar.storage import Migration, connect, database_path, migrate, transaction

from .matching import fits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

PART = "agent_memory"
MIGRATIONS = (
    Migration.sql(
        "items and their vectors",
        "CREATE TABLE memory_items (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
        " created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (namespace, key))",
        "CREATE TABLE memory_vectors (namespace TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,"
        " model TEXT NOT NULL, vector BLOB NOT NULL, FOREIGN KEY (namespace, key)"
        " REFERENCES memory_items ON DELETE CASCADE)",
        "CREATE INDEX memory_vectors_of ON memory_vectors (namespace, key)",
    ),
)
_AFTER_DOT = chr(ord(".") + 1)


@dataclass(frozen=True)
class _Found:
    item: Item
    vectors: list[bytes]


class MemoryStore(BaseStore):
    """Items by namespace and key, kept in the database of the settings (or in the file ``path``).

    ``fields`` are the parts of a value that are searched by meaning (paths as LangGraph writes
    them); ``embeddings`` None uses those of the settings. Usable from any thread and event loop,
    and by several processes at once. Raises StorageError or a subclass.
    """

    def __init__(
        self,
        settings: Settings | str | Path | None = None,
        *,
        path: Path | None = None,
        embeddings: Embeddings | None = None,
        fields: Sequence[str] = ("text",),
    ) -> None:
        self._settings = resolve(settings)
        self._path = path
        self._embeddings = embeddings
        self._fields = tuple(fields)

    @property
    def path(self) -> Path:
        """The database's file."""
        return self._path or database_path(self._settings)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Reads see what was there before; then all writes are made, or none. The last of two wins."""
        wanted = list(ops)
        results: list[Result] = [None] * len(wanted)
        with self._open() as connection:
            for place, op in enumerate(wanted):
                if not isinstance(op, PutOp):
                    results[place] = self._read(connection, op)
            puts = {(op.namespace, op.key): op for op in wanted if isinstance(op, PutOp)}
            if puts:
                self._write(connection, list(puts.values()))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As ``batch``, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one batch: nothing is shared by threads or kept across a fork."""
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA secure_delete = ON")  # what is forgotten leaves the file
            migrate(connection, MIGRATIONS, part=PART)
            yield connection

    def _read(self, connection: sqlite3.Connection, op: Op) -> Result:
        if isinstance(op, GetOp):
            return _get(connection, op)
        if isinstance(op, SearchOp):
            return self._search(connection, op)
        if isinstance(op, ListNamespacesOp):
            return _namespaces(connection, op)
        raise ValueError(f"Unknown operation: {type(op).__name__}")

    def _search(self, connection: sqlite3.Connection, op: SearchOp) -> list[SearchItem]:
        if op.query:
            self._embed_anew(connection, op.namespace_prefix)
        found = [
            one
            for one in _below(connection, op.namespace_prefix, with_vectors=bool(op.query))
            if all(fits(one.item.value.get(k), v) for k, v in (op.filter or {}).items())
        ]
        scores = self._scores(op.query, found) if op.query else [None] * len(found)
        ranked = sorted(  # a stable sort: what has no vector comes last, in the order it was kept
            zip(scores, found, strict=True),
            key=lambda pair: -(pair[0] if pair[0] is not None else -2),
        )
        page = ranked[op.offset : op.offset + op.limit]
        return [
            SearchItem(
                namespace=one.item.namespace,
                key=one.item.key,
                value=one.item.value,
                created_at=one.item.created_at,
                updated_at=one.item.updated_at,
                score=score,
            )
            for score, one in page
        ]

    def _scores(self, query: str, found: Sequence[_Found]) -> list[float | None]:
        """For each item the cosine of its vector that is nearest to the query."""
        owners = [place for place, one in enumerate(found) for _ in one.vectors]
        scores: list[float | None] = [None] * len(found)
        if not owners:
            return scores
        import numpy as np

        asked = _normal(np.asarray([self._model().embed_query(query)], dtype=np.float32))[0]
        matrix = np.frombuffer(b"".join(v for one in found for v in one.vectors), dtype="<f4")
        for place, score in zip(owners, matrix.reshape(len(owners), -1) @ asked, strict=True):
            best = scores[place]
            scores[place] = float(score) if best is None else max(best, float(score))
        return scores

    def _embed_anew(self, connection: sqlite3.Connection, prefix: tuple[str, ...]) -> None:
        """Vectors that another embedding model made say nothing to this one."""
        where, values = _within(prefix)
        model = self._fingerprint()
        stale = connection.execute(
            f"SELECT rowid, text FROM memory_vectors WHERE model <> ? AND {where}",  # noqa: S608  # our own text
            (model, *values),
        ).fetchall()
        if not stale:
            return
        vectors = self._embed([text for _, text in stale])
        with transaction(connection):
            connection.executemany(
                "UPDATE memory_vectors SET model = ?, vector = ? WHERE rowid = ?",
                [(model, v, row) for v, (row, _) in zip(vectors, stale, strict=True)],
            )

    def _write(self, connection: sqlite3.Connection, puts: Sequence[PutOp]) -> None:
        for op in puts:
            _check_namespace(op.namespace)
        texts = [(op, text) for op in puts for text in self._texts(op)]
        vectors = self._embed([text for _, text in texts]) if texts else []
        now = datetime.now(UTC).isoformat()
        with transaction(connection):
            for op in puts:
                _put(connection, op, now)
            if texts:
                connection.executemany(
                    "INSERT INTO memory_vectors VALUES (?, ?, ?, ?, ?)",
                    [
                        (".".join(op.namespace), op.key, text, self._fingerprint(), vector)
                        for (op, text), vector in zip(texts, vectors, strict=True)
                    ],
                )

    def _texts(self, op: PutOp) -> list[str]:
        if op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else op.index
        found = [text for field in fields for text in get_text_at_path(op.value, field)]
        return [text for text in dict.fromkeys(found) if text.strip()]

    def _embed(self, texts: list[str]) -> list[bytes]:
        import numpy as np

        vectors = np.asarray(self._model().embed_documents(texts), dtype=np.float32)
        return [row.astype("<f4").tobytes() for row in _normal(vectors)]

    def _model(self) -> Embeddings:
        if self._embeddings is None:
            from nearfar.llm import embeddings

            self._embeddings = embeddings(settings=self._settings)
        return self._embeddings

    def _fingerprint(self) -> str:
        """Tells embedding models apart: ours have one, others are told by their class."""
        model = self._model()
        return str(getattr(model, "fingerprint", None) or type(model).__qualname__)


def _normal(vectors: "Vectors") -> "Vectors":
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normal: Vectors = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return normal


def _check_namespace(namespace: tuple[str, ...]) -> None:
    """``batch`` may be called without the checks of ``put``; a dot would leave the namespace."""
    if not namespace or any(not label or "." in label for label in namespace):
        raise InvalidNamespaceError(
            "A namespace has at least one label, and labels are not empty and hold no dot."
        )


def _within(prefix: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """SQL for all namespaces at and below the prefix; a range, so that nothing needs escaping."""
    if not prefix:
        return "1", ()
    whole = ".".join(prefix)
    below = (whole, f"{whole}.", f"{whole}{_AFTER_DOT}")
    return "(namespace = ? OR (namespace >= ? AND namespace < ?))", below


def _get(connection: sqlite3.Connection, op: GetOp) -> Item | None:
    row = connection.execute(
        "SELECT namespace, key, value, created_at, updated_at FROM memory_items"
        " WHERE namespace = ? AND key = ?",
        (".".join(op.namespace), op.key),
    ).fetchone()
    return None if row is None else _item(row)


def _item(row: Sequence[Any]) -> Item:
    namespace, key, value, created, updated = row[:5]
    return Item(
        namespace=tuple(namespace.split(".")),
        key=key,
        value=json.loads(value),
        created_at=datetime.fromisoformat(created),
        updated_at=datetime.fromisoformat(updated),
    )


def _below(
    connection: sqlite3.Connection, prefix: tuple[str, ...], *, with_vectors: bool
) -> list[_Found]:
    where, values = _within(prefix)
    rows = connection.execute(
        "SELECT namespace, key, value, created_at, updated_at FROM memory_items"  # noqa: S608  # our own text
        f" WHERE {where} ORDER BY rowid",
        values,
    ).fetchall()
    vectors: dict[tuple[str, str], list[bytes]] = {}
    if with_vectors:
        for namespace, key, vector in connection.execute(
            f"SELECT namespace, key, vector FROM memory_vectors WHERE {where}",  # noqa: S608  # our own text
            values,
        ):
            vectors.setdefault((namespace, key), []).append(vector)
    return [_Found(_item(row), vectors.get((row[0], row[1]), [])) for row in rows]


def _namespaces(connection: sqlite3.Connection, op: ListNamespacesOp) -> list[tuple[str, ...]]:
    rows = connection.execute("SELECT DISTINCT namespace FROM memory_items")
    found = (tuple(row[0].split(".")) for row in rows)
    kept = {ns for ns in found if all(_matches(c, ns) for c in op.match_conditions or ())}
    short = sorted({ns[: op.max_depth] for ns in kept} if op.max_depth is not None else kept)
    return short[op.offset : op.offset + op.limit]


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)]
    if condition.match_type == "suffix":
        part = namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for label, wanted in zip(part, path, strict=True))


def _put(connection: sqlite3.Connection, op: PutOp, now: str) -> None:
    place = (".".join(op.namespace), op.key)
    if op.value is None:
        connection.execute("DELETE FROM memory_items WHERE namespace = ? AND key = ?", place)
        return
    connection.execute("DELETE FROM memory_vectors WHERE namespace = ? AND key = ?", place)
    connection.execute(
        "INSERT INTO memory_items VALUES (?, ?, ?, ?, ?) ON CONFLICT (namespace, key)"
        " DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        (*place, json.dumps(_plain(op.value), ensure_ascii=False), now, now),
    )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return dict(value)
