"""Schedules as plain JSON."""

import time
from datetime import datetime
from typing import Any

from nearfar.storage.schedules import Schedule

from .times import zone_named

_OVERDUE_S = 30.0


def summary(schedule: Schedule, now: float | None = None) -> dict[str, Any]:
    """A schedule as the command line prints it; times are ISO 8601 in its own zone.

    ``overdue``: a time passed, and nobody has looked at the clock since.
    """
    zone = zone_named(schedule.zone)

    def text(at: float | None) -> str | None:
        return None if at is None else datetime.fromtimestamp(at, zone).isoformat()

    at = time.time() if now is None else now
    waits = not schedule.paused and schedule.next_at is not None
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
        "overdue": waits and at - float(schedule.next_at or 0) > _OVERDUE_S,
        "last_at": text(schedule.last_at),
        "last_run_id": schedule.last_run_id,
        "last_error": schedule.last_error,
        "fired": schedule.fired,
        "missed": schedule.missed,
        "overlapped": schedule.overlapped,
        "failed": schedule.failed,
        "created_at": text(schedule.created_at),
    }
