"""Runs as JSON: what the command line and servers show."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nearfar.graphs.plain import to_plain
from nearfar.storage.journal import Record
from nearfar.storage.journal.holders import Holder

if TYPE_CHECKING:
    from .runner import Runner


def summary(record: Record) -> dict[str, Any]:
    """A run without what it takes more reading to know."""
    return {
        "id": record.id,
        "workflow": record.workflow,
        "thread_id": record.thread_id,
        "status": record.status,
        "attempt": record.attempt,
        "created_at": _moment(record.created_at),
        "updated_at": _moment(record.updated_at),
        "error": record.error,
        "questions": record.questions,
        "expires_at": _moment(record.expires_at),
        "priority": record.priority,
        "tenant": record.tenant or None,
        "idempotency_key": record.idempotency_key,
        "forked_from": record.forked_from,
        "usage": record.usage,
        "cost_usd": record.cost_usd,
    }


def is_left(record: Record) -> bool:
    """Whether the process that works on the run is surely gone, and nobody has taken it over yet."""
    return record.status == "running" and bool(record.home) and Holder.parse(record.home).is_dead()


async def details(runner: "Runner", record: Record) -> dict[str, Any]:
    """Everything about a run but its states."""
    record = await runner.whole(record)
    return {
        **summary(record),
        "output": record.output,
        "checkpoints": await runner.checkpoints(record),
        "effects": [effect.to_dict() for effect in await runner.effects(record)],
    }


async def exported(runner: "Runner", record: Record) -> dict[str, Any]:
    """A run with its input and all of its states that are kept."""
    return {
        **await details(runner, record),
        "input": to_plain(runner.input_of(record)),
        "states": [
            {"id": name, "values": to_plain(values)} for name, values in await runner.states(record)
        ],
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
