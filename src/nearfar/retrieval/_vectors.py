"""Vectors of one segment, searched exactly by inner product. They are normalised by the caller.

Two kinds: ``FlatVectors`` holds floats in memory. ``QuantizedVectors``, for large segments, holds a
byte for each number in memory and the floats in a file that is mapped: the bytes choose
candidates, the floats rank them.
"""

import mmap
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

_CANDIDATES = 4  # times k: how many the bytes choose for the floats to rank
_LEAST_CANDIDATES = 64


class Vectors(Protocol):
    """What both kinds can do. A place is a position in the segment."""

    def __len__(self) -> int: ...

    def search(self, query: Floats, k: int, allowed: Mask) -> tuple[Places, Floats]:
        """The best ``k`` of the allowed places, best first, and their inner products."""

    def take(self, places: Places | slice) -> Floats:
        """The vectors at these places."""


class FlatVectors:
    """Floats in memory."""

    def __init__(self, index: Any) -> None:
        self._index = index  # faiss.IndexFlatIP

    @classmethod
    def of(cls, vectors: Floats) -> "FlatVectors":
        """Copy the vectors."""
        import faiss

        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, np.float32))
        return cls(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, query: Floats, k: int, allowed: Mask) -> tuple[Places, Floats]:
        return _search(self._index, query, k, allowed)

    def take(self, places: Places | slice) -> Floats:
        import faiss

        everything: Floats = faiss.rev_swig_ptr(
            self._index.get_xb(), len(self) * self._index.d
        ).reshape(len(self), self._index.d)
        return everything[places].copy()

    def to_bytes(self, rows: Places) -> bytes:
        """A FAISS file that maps each vector to its row."""
        return _index_bytes(self._index, rows)


class QuantizedVectors:
    """Bytes in memory, floats in a file."""

    def __init__(self, index: Any, floats: Path) -> None:
        self._index = index  # faiss.IndexScalarQuantizer
        with floats.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._floats = np.frombuffer(data, np.float32).reshape(-1, index.d)
        if len(self._floats) != index.ntotal:
            raise ValueError("the two files do not belong together")

    @staticmethod
    def to_bytes(vectors: Floats, rows: Places) -> tuple[bytes, bytes]:
        """The FAISS file and the file with the floats."""
        import faiss

        index = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.train(vectors)
        index.add(vectors)
        return _index_bytes(index, rows), np.ascontiguousarray(vectors, np.float32).tobytes()

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, query: Floats, k: int, allowed: Mask) -> tuple[Places, Floats]:
        candidates, _ = _search(
            self._index, query, max(_CANDIDATES * k, _LEAST_CANDIDATES), allowed
        )
        scores = self._floats[candidates] @ query
        best = np.argsort(-scores, kind="stable")[:k]
        return candidates[best], scores[best]

    def take(self, places: Places | slice) -> Floats:
        return self._floats[places].copy()


def read_index(data: bytes) -> tuple[Any, Places]:
    """The index in a FAISS file of ours, and the row of each vector. Raises ValueError."""
    import faiss

    try:
        mapped = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        rows = faiss.vector_to_array(mapped.id_map).astype(np.int64)
        inner = faiss.downcast_index(mapped.index)
    except (RuntimeError, AttributeError) as error:
        raise ValueError("not a FAISS file of a store") from error
    mapped.own_fields = False  # or the inner index would go with its wrapper
    inner.this.own(True)
    return inner, rows


def _index_bytes(index: Any, rows: Places) -> bytes:
    import faiss

    mapped = faiss.IndexIDMap(faiss.IndexFlatIP(index.d))  # it takes an empty one only
    mapped.index = index
    faiss.copy_array_to_vector(np.ascontiguousarray(rows, np.int64), mapped.id_map)
    mapped.ntotal = index.ntotal
    data: bytes = faiss.serialize_index(mapped).tobytes()
    return data


def _search(index: Any, query: Floats, k: int, allowed: Mask) -> tuple[Places, Floats]:
    import faiss

    count = int(allowed.sum())
    k = min(k, count)
    if k <= 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    parameters = None
    if count < len(allowed):
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        parameters = faiss.SearchParameters(sel=selector)
    scores, places = index.search(query[None].astype(np.float32), k, params=parameters)
    found = places[0] >= 0
    return places[0][found], scores[0][found]
