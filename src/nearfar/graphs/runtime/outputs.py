"""What a run gave: plain JSON in the journal, but for long conversations.

Each turn of a thread gives the whole conversation. The checkpoint that it ended with holds the
messages already, so the journal says where, and they are put in when somebody asks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage

from nearfar.graphs.plain import message_fields, to_plain
from nearfar.storage.checkpoints import ExtendedSaver
from nearfar.storage.journal import Record

_LONG = 16  # messages; a shorter conversation stands in the journal itself


def conversations(output: Any) -> dict[str, list[BaseMessage]]:
    """The long lists of messages in an output."""
    if not isinstance(output, dict):
        return {}
    return {name: value for name, value in output.items() if _is_conversation(value)}


def _is_conversation(value: Any) -> bool:
    long = isinstance(value, list) and len(value) >= _LONG
    return long and all(issubclass(kind, BaseMessage) for kind in set(map(type, value)))


async def whole(record: Record, saver: ExtendedSaver) -> Record:
    """The record with everything in its output. Raises EncryptionError."""
    output = saver.unsealed(record.output)
    if record.apart:
        output = {**output, **await saver.akept(record.thread_id, record.id, _shown)}
    return replace(record, output=output, apart=[])


def _shown(held: Any) -> Any:
    return message_fields(held) if isinstance(held, Mapping) else to_plain(held)
