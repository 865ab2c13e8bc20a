"""Schedules as plain JSON."""

from datetime import datetime
from typing import Any

from nearfar.storage.schedules import Schedule

from .times import zone_named


def summary(schedule: Schedule) -> dict[str, Any]:
    """A schedule as the command line prints it; times are ISO 8601 in its own zone."""
    zone = zone_named(schedule.zone)

    def text(at: float | None) -> str | None:
        return None if at is None else datetime.fromtimestamp(at, zone).isoformat()

    return {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "cron": schedule.cron,
        "every_s": schedule.every_s,
        "tz": schedule.zone,
        "input": schedule.input,
        "misfire": schedule.misfire,
        "grace_s": schedule.grace_s,
        "tenant": schedule.tenant or None,
        "priority": schedule.priority,
        "paused": schedule.paused,
        "next_at": None if schedule.paused else text(schedule.next_at),
        "last_at": text(schedule.last_at),
        "last_run_id": schedule.last_run_id,
        "last_error": schedule.last_error,
        "fired": schedule.fired,
        "missed": schedule.missed,
        "overlapped": schedule.overlapped,
        "failed": schedule.failed,
        "created_at": text(schedule.created_at),
    }
