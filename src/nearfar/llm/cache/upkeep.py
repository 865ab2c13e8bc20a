"""Looking into caches and emptying them: needs neither LangChain nor a model."""

import hashlib
import json
from pathlib import Path

from . import entries
from .entries import CacheStats
from .file import CacheFile, default_path


def stats(*, path: Path | None = None) -> list[CacheStats]:
    """What every cache of the file holds and has done; empty where none was used yet."""
    file = path or default_path()
    return CacheFile.at(file).read(entries.standing) if file.is_file() else []


def clear(
    name: str | None = None,
    *,
    model: str | None = None,
    tenant: str | None = None,
    path: Path | None = None,
) -> int:
    """Delete the answers of a cache, a model, a tenant (each narrows it), or all; how many."""
    file = path or default_path()
    if not file.is_file():
        return 0
    owner = None if tenant is None else tenant_digest(tenant)
    opened = CacheFile.at(file)
    removed = opened.write(lambda c: entries.remove(c, name, model=model, tenant=owner))
    opened.read(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    return removed


def tenant_digest(tenant: str | None) -> bytes:
    """What stands for a tenant; None is one of its own."""
    text = json.dumps(["tenant", tenant])
    return hashlib.sha256(text.encode()).digest()
