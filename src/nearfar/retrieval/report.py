"""What an indexing run says while it goes on, and when it is done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nearfar.errors import NearfarError


class Failure(NamedTuple):
    """A file that could not be read, and why."""

    path: str
    error: NearfarError


class Note(NamedTuple):
    """Something to know about a file: why it was passed over, what had to be guessed, its twin."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``done`` of ``total`` files; ``path`` is the one at hand."""

    done: int
    total: int
    path: str
    chunks: int  # embedded in this run so far


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class IngestReport:
    """Every file of a run stands in exactly one of the first six lists."""

    read: list[str] = field(default_factory=list)  # new, or changed
    unchanged: list[str] = field(default_factory=list)
    moved: list[Note] = field(default_factory=list)  # text: where it was before
    duplicates: list[Note] = field(default_factory=list)  # text: the file with the same content
    skipped: list[Note] = field(default_factory=list)  # text: why
    failed: list[Failure] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)  # was in the index, is no longer there
    warnings: list[Note] = field(default_factory=list)
    embedded: int = 0  # passages that were embedded in this run
    chunks: int = 0  # passages in the index now
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether the index is another than before."""
        return bool(self.read or self.moved or self.duplicates or self.deleted)

    @property
    def nothing_readable(self) -> bool:
        """Something failed, and there was nothing else."""
        return bool(self.failed) and not (
            self.read or self.unchanged or self.moved or self.duplicates
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "read": self.read,
            "unchanged": self.unchanged,
            "moved": [{"path": n.path, "from": n.text} for n in self.moved],
            "duplicates": [{"path": n.path, "of": n.text} for n in self.duplicates],
            "skipped": [{"path": n.path, "reason": n.text} for n in self.skipped],
            "failed": [{"path": f.path} | f.error.to_dict() for f in self.failed],
            "deleted": self.deleted,
            "warnings": [{"path": n.path, "text": n.text} for n in self.warnings],
            "embedded": self.embedded,
            "chunks": self.chunks,
            "seconds": round(self.seconds, 3),
        }
