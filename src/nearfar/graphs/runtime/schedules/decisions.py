"""What becomes of the times that are due: one table of rules, without a clock or a database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nearfar.storage.schedules import Schedule

from .times import Times

MOST_AT_ONCE = 1_000
"""So many missed times of a cron line are counted before other schedules get their turn."""


@dataclass(frozen=True)
class Plan:
    """The time that is decided on, and what is passed over for it."""

    at: float
    earlier: int  # due before it, and covered by it
    next_at: float | None
    more: bool  # something later is due as well: none of these is the latest


def plan(schedule: Schedule, times: Times, now: float) -> Plan | None:
    """What is to be decided now; None: nothing is due."""
    first = schedule.next_at
    if first is None or first > now:
        return None
    if schedule.misfire == "run-all":
        return Plan(first, 0, times.after(first), more=False)
    count, last = times.until(first, now, MOST_AT_ONCE)
    following = times.after(last)
    more = following is not None and following <= now
    return Plan(last, count - 1, following, more=more)


def decided(
    schedule: Schedule, made: Plan, now: float, *, going: bool, done: bool
) -> dict[str, Any] | None:
    """The columns that change; None: the time waits for the run that is going.

    ``going``: a run of the schedule has not ended. ``done``: this very time had its run, before
    the clock was set back.
    """
    values: dict[str, Any] = {
        "next_at": made.next_at,
        "through": max(schedule.through, made.at),
        "seen_at": now,
        "missed": schedule.missed + made.earlier,
    }
    late = now - made.at > schedule.grace_s
    if done:
        return values
    if going and late and schedule.misfire == "run-all":
        return None
    if made.more or (late and schedule.misfire == "skip"):
        return {**values, "missed": values["missed"] + 1}
    if going:
        return {**values, "overlapped": schedule.overlapped + 1}
    return {**values, "pending": name_of(made.at), "pending_at": now}


def name_of(at: float) -> str:
    """A time as idempotency keys have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of(name: str) -> float | None:
    """What ``name_of`` was given; None for a run that a person asked for."""
    try:
        return datetime.strptime(name, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
