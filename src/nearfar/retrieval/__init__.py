"""Documents in, passages out: readers, splitting, the vector store, hybrid ranking, named indexes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hybrid import HybridRetriever
    from .index import Index, IndexCheck, IndexInfo
    from .report import Failure, IngestReport, Note, Progress
    from .searching import Passage
    from .store import FaissStore

_HOMES = {
    "FaissStore": "store",
    "Failure": "report",
    "HybridRetriever": "hybrid",
    "Index": "index",
    "IndexCheck": "health",
    "IndexInfo": "health",
    "IngestReport": "report",
    "Note": "report",
    "Passage": "searching",
    "Progress": "report",
}

__all__ = [
    "Failure",
    "FaissStore",
    "HybridRetriever",
    "Index",
    "IndexCheck",
    "IndexInfo",
    "IngestReport",
    "Note",
    "Passage",
    "Progress",
]


def __getattr__(name: str) -> Any:
    """Load a name's module when it is asked for: faiss and its kind are heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
