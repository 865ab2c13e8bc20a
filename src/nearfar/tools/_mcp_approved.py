"""What MCP servers said about their tools when they were approved, as digests.

A description is read by the model like an instruction. A server that was harmless when it was added
and says something else later must not get by unseen.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.errors import StorageError
from nearfar.settings import home
from nearfar.storage import file_lock, writing

NAME = "mcp_tools.json"
_LOCK_WAIT_S = 10


def digest(tool: Any) -> str:
    """Of all that a server says about a tool which a model sees."""
    said = [tool.name, tool.description, tool.input_schema]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def unapproved(server: str, tools: Mapping[str, str]) -> list[str]:
    """Those of ``tools`` (digests by name) that are new or changed. What a server says the first time is kept."""
    path = home() / NAME
    with file_lock(path.with_suffix(".lock"), timeout_s=_LOCK_WAIT_S):
        known = _read(path)
        if server not in known:
            _write(path, {**known, server: dict(tools)})
            return []
    return [name for name, said in tools.items() if known[server].get(name) != said]


def approve(server: str, tools: Mapping[str, str]) -> None:
    """From now on these hold."""
    path = home() / NAME
    with file_lock(path.with_suffix(".lock"), timeout_s=_LOCK_WAIT_S):
        _write(path, {**_read(path), server: dict(tools)})


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path} cannot be read: {error}",
            remedy="Delete it: then what servers say next is taken as approved.",
            data={"path": str(path)},
        ) from error
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, dict[str, str]]) -> None:
    with writing(path):
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        fresh.replace(path)
