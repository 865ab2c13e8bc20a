"""From settings to a checkpointer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from nearfar.settings import Settings
from nearfar.storage.database import database_path

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from .cipher import SealedSerializer
    from .pruning import Retention
    from .serde import StrictSerializer
    from .writer import Guard


@asynccontextmanager
async def open_saver(
    settings: Settings, *, guard: "Guard | None" = None
) -> "AsyncIterator[BaseCheckpointSaver[str]]":
    """The checkpointer of ``storage.url``, open for the length of the block.

    ``guard`` is called with the connection and the thread's id inside each write transaction,
    before anything is written; what it raises, the write raises, and nothing of it is committed.
    Raises StorageError when the store cannot be opened, EncryptionError when it has another key.
    """
    from .sqlite import SqliteSaver

    storage = settings.storage
    async with SqliteSaver.open(
        database_path(settings),
        serde=make_serializer(settings),
        durable=storage.power_safe,
        guard=guard,
        retention=retention_of(settings),
    ) as saver:
        yield saver


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


def allow_types_of(saver: "BaseCheckpointSaver[str]", graph: Any) -> "BaseCheckpointSaver[str]":
    """The checkpointer, for this graph: the classes that its state declares may stand in it."""
    from .types import declared_types

    return saver.with_allowlist(declared_types(graph))
