"""From settings to a checkpointer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from nearfar.settings import Settings
from nearfar.storage.database import database_path
from nearfar.storage.journal.leases import Fence
from nearfar.storage.postgres import postgres_url

if TYPE_CHECKING:
    from .cipher import SealedSerializer
    from .extended import ExtendedSaver
    from .pruning import Retention
    from .serde import StrictSerializer


@asynccontextmanager
async def open_saver(
    settings: Settings, *, guard: Fence | None = None
) -> "AsyncIterator[ExtendedSaver]":
    """The checkpointer of ``storage.url``, open for the length of the block.

    ``guard`` is asked inside each write transaction, before anything is written; what it raises,
    the write raises, and nothing of it is committed.
    Raises StorageError when the store cannot be opened, EncryptionError when it has another key.
    """
    options: dict[str, Any] = {
        "serde": make_serializer(settings),
        "retention": retention_of(settings),
    }
    url = postgres_url(settings)
    if url is not None:
        from .postgres import PostgresSaver

        async with PostgresSaver.open(url, **options) as distant:
            yield guarded(distant, guard)
        return
    from .sqlite import SqliteSaver

    durable = settings.storage.power_safe
    async with SqliteSaver.open(database_path(settings), durable=durable, **options) as saver:
        yield guarded(saver, guard)


def guarded(saver: "ExtendedSaver", fence: Fence | None) -> "ExtendedSaver":
    """The same checkpointer for a writer with a right of its own."""
    from .sqlite import SqliteSaver

    if fence is None or isinstance(saver, SqliteSaver):
        return saver.with_guard(fence)
    return saver.with_guard(fence.awaited)


def make_serializer(settings: Settings) -> "StrictSerializer | SealedSerializer":
    """What turns states into rows: with the classes and the key of the settings."""
    from .cipher import SealedSerializer, encryption_key
    from .serde import StrictSerializer, class_name

    plain = StrictSerializer(map(class_name, settings.storage.types))
    key = encryption_key(settings.storage.encryption)
    return plain if key is None else SealedSerializer(key, plain)


def retention_of(settings: Settings) -> "Retention":
    """``storage.retention`` as the checkpointers take it."""
    from .pruning import Retention

    rule = settings.storage.retention
    return Retention(rule.checkpoints or None, rule.days, rule.thread_mb)


def allow_types_of(saver: "ExtendedSaver", graph: Any) -> "ExtendedSaver":
    """The checkpointer, for this graph: the classes that its state declares may stand in it."""
    from .types import declared_types, starts_quietly

    return saver.for_graph(declared_types(graph), quiet_start=starts_quietly(graph))
