"""One line per tool call in audit.jsonl: who, what, a digest of the arguments, outcome, time."""

import getpass
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nearfar.errors import StorageError
from nearfar.settings import AuditSettings, home
from nearfar.storage import file_lock, writing

Outcome = Literal[
    "ok", "denied", "rejected", "unapproved", "invalid", "refused", "timeout", "error", "cancelled"
]

NAME = "audit.jsonl"
_LOCK_WAIT_S = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line. No argument and no result stands in it."""

    tool: str
    arguments: Any
    outcome: Outcome
    ms: float
    permission: str | None = None
    config: Mapping[str, Any] | None = None  # the call's RunnableConfig
    call_id: str | None = None

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """What is written."""
        configurable = (self.config or {}).get("configurable") or {}
        metadata = (self.config or {}).get("metadata") or {}
        return {
            "time": now.isoformat(timespec="milliseconds"),
            "who": str(configurable.get("user_id") or _user()),
            "agent": _text_or_none(metadata.get("lc_agent_name") or metadata.get("langgraph_node")),
            "thread": _text_or_none(configurable.get("thread_id")),
            "call": self.call_id,
            "tool": self.tool,
            "arguments_sha256": digest(self.arguments),
            "permission": self.permission,
            "outcome": self.outcome,
            "ms": round(self.ms, 1),
        }


def digest(arguments: Any) -> str:
    """SHA-256 over the arguments as JSON with sorted keys."""
    text = json.dumps(
        arguments, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=repr
    )
    return hashlib.sha256(text.encode()).hexdigest()


def audit_file() -> Path:
    """Where the lines are."""
    return home() / NAME


def record(entry: Entry, settings: AuditSettings, *, now: datetime | None = None) -> None:
    """Append the entry. Several programs may do so at once; a line is whole or not there.

    A disk that cannot be written is logged as an error, and the call goes on.
    """
    line = json.dumps(entry.to_dict(now or datetime.now(UTC)), ensure_ascii=True) + "\n"
    try:
        path = audit_file()
        with file_lock(path.with_suffix(".lock"), timeout_s=_LOCK_WAIT_S), writing(path):
            _rotate(path, len(line), settings)
            _append(path, line.encode("ascii"))
    except StorageError as error:
        _log.error("A call of %s was not recorded: %s", entry.tool, error.message)


def _append(path: Path, line: bytes) -> None:
    """One write; a torn end that a crash left behind is closed first."""
    torn = path.exists() and path.stat().st_size > 0 and not _ends_a_line(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        waiting = memoryview(b"\n" + line if torn else line)
        while waiting:
            waiting = waiting[os.write(descriptor, waiting) :]
    finally:
        os.close(descriptor)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _rotate(path: Path, more: int, settings: AuditSettings) -> None:
    """audit.jsonl becomes audit.1.jsonl, that one audit.2.jsonl, and so on."""
    if not path.exists() or path.stat().st_size + more <= settings.max_mb * 1024**2:
        return
    aside = [path.with_name(f"audit.{n}.jsonl") for n in range(1, settings.keep + 1)]
    for older, newer in zip(reversed(aside), [*reversed(aside[:-1]), path], strict=True):
        if newer.exists():
            newer.replace(older)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this number
        return "unknown"


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
