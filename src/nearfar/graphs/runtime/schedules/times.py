"""When a schedule is due: cron lines in a time zone, and intervals.

APScheduler's cron trigger says which times of the wall clock match. Which moments those are is
decided here: in a zone that changes its offset the trigger itself loses a run (a daily one at
midnight misses the day after the clock went forward).
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from nearfar.errors import ScheduleInvalidError

FIELDS = ("minute", "hour", "day", "month", "day_of_week")
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LOOK_BACK = timedelta(hours=3)  # no zone ever put its clock back further at once
_SECOND = timedelta(seconds=1)
_LAST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class Times(Protocol):
    """The moments at which something is due, in whole seconds since 1970."""

    def after(self, moment: float) -> float | None:
        """The first one later than that; None when there is none any more."""

    def until(self, first: float, now: float, limit: int) -> tuple[int, float]:
        """How many there are from ``first`` (one of them) to ``now``, and the last of those.

        At most ``limit`` are counted, where each must be looked for.
        """


@dataclass(frozen=True)
class Every:
    """Every so many seconds that have really passed, counted from ``anchor``."""

    seconds: int
    anchor: float

    def after(self, moment: float) -> float | None:
        """The first one later than that."""
        return self.anchor + self.seconds * max(1, self._number(moment) + 1)

    def until(self, first: float, now: float, limit: int) -> tuple[int, float]:  # noqa: ARG002 - counted at once
        """How many there are from ``first`` to ``now``, and the last of those."""
        count = self._number(now) - self._number(first) + 1
        return count, first + self.seconds * (count - 1)

    def _number(self, moment: float) -> int:
        return math.floor((moment - self.anchor) / self.seconds)


class Cron:
    """The moments that a cron line names in a zone.

    Where the hour is ``*`` or ``*/n`` the line follows the hours that pass: a time that the clock
    jumps over is no time, and one that comes twice is two. Elsewhere it names times of the day:
    one that the clock jumps over is due right after the jump, and one that comes twice is due when
    it comes first. Raises ScheduleInvalidError.
    """

    def __init__(self, line: str, zone: ZoneInfo) -> None:
        self._zone = zone
        fields = dict(zip(FIELDS, _fields(line), strict=True))
        self._passing = fields["hour"].startswith("*")
        self._trigger = _trigger(fields)

    def after(self, moment: float) -> float | None:
        """The first one later than that; None when there is none any more."""
        best: float | None = None
        here = datetime.fromtimestamp(moment, UTC).astimezone(self._zone)
        wall = here.replace(tzinfo=None, fold=0)
        for one in self._walls(wall - _LOOK_BACK if self._changes_soon(here) else wall):
            later = [found for found in self._moments(one) if found > moment]
            best = min([*later, *([] if best is None else [best])], default=None)
            if best is not None and one > wall:
                break
        return best

    def until(self, first: float, now: float, limit: int) -> tuple[int, float]:
        """How many there are from ``first`` to ``now`` (at most ``limit``), and the last of those."""
        count, last = 1, first
        while count < limit:
            following = self.after(last)
            if following is None or following > now:
                break
            count, last = count + 1, following
        return count, last

    def _walls(self, start: datetime) -> Iterator[datetime]:
        """The times of the wall clock that match, from ``start`` on, as if no clock was ever put."""
        at: datetime | None = start.replace(tzinfo=UTC)
        while at is not None:
            at = self._trigger(at)
            if at is None or at.timestamp() >= _LAST:
                return
            yield at.replace(tzinfo=None)
            at += _SECOND

    def _changes_soon(self, here: datetime) -> bool:
        """Whether the clock is put back within the next hours, or was just now."""
        offsets = {
            (here.astimezone(UTC) + delta).astimezone(self._zone).utcoffset()
            for delta in (-_LOOK_BACK, _LOOK_BACK)
        }
        return len(offsets) > 1

    def _moments(self, wall: datetime) -> list[float]:
        """The moments at which the clock shows this time, or at which it stands for it."""
        early, late = (wall.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if early.utcoffset() == late.utcoffset():
            return [early.timestamp()]
        if early.timestamp() < late.timestamp():  # it comes twice
            return [early.timestamp(), late.timestamp()] if self._passing else [early.timestamp()]
        return [] if self._passing else [_jump(late.timestamp(), early.timestamp(), self._zone)]


def _jump(low: float, high: float, zone: ZoneInfo) -> float:
    """The first second after the clock's jump, which lies between the two."""
    before = datetime.fromtimestamp(low, zone).utcoffset()
    first, last = math.floor(low), math.ceil(high)
    while last - first > 1:
        middle = (first + last) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            first = middle
        else:
            last = middle
    return float(last)


def _fields(line: str) -> list[str]:
    text = line.strip().lower()
    fields = _ALIASES.get(text, text).split()
    if text.startswith("@") and text not in _ALIASES:
        raise _wrong("cron", line, f"{line!r} is not known", f"Known: {', '.join(_ALIASES)}.")
    if len(fields) != len(FIELDS):
        raise _wrong(
            "cron",
            line,
            f"it has {len(fields)} fields instead of 5",
            "The fields are: minute hour day month day-of-week, as in '0 9 * * mon-fri'.",
        )
    return fields


def _trigger(fields: dict[str, str]) -> Callable[[datetime], datetime | None]:
    """The first match at a time of the wall clock or later.

    As cron has it, a line that restricts both days is due when either fits.
    """
    given = {**fields, "day_of_week": _weekdays(fields["day_of_week"])}
    for name, text in given.items():
        _one(fields, **{name: text})
    both = not fields["day"].startswith("*") and not fields["day_of_week"].startswith("*")
    if both:
        triggers = [_one(fields, **{**given, name: "*"}) for name in ("day", "day_of_week")]
    else:
        triggers = [_one(fields, **given)]

    def first(at: datetime) -> datetime | None:
        found = [trigger.get_next_fire_time(None, at) for trigger in triggers]
        return min((one for one in found if one is not None), default=None)

    if first(datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise _wrong("day", fields["day"], "there is no such day in these months", None)
    return first


def _one(fields: dict[str, str], **given: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    for text in given.values():
        if not re.fullmatch(r"[\w*/,-]+", text) or "last" in text:
            break  # what only APScheduler knows
    else:
        try:
            return CronTrigger(**given, second="0", timezone=UTC)
        except ValueError as error:
            why = str(error).rpartition("': ")[2]
            [name] = given if len(given) == 1 else ["cron"]
            raise _wrong(name, fields.get(name, ""), why[:1].lower() + why[1:], None) from None
    name = next(iter(given))
    raise _wrong(name, fields[name], "it is no number, name, range or list", None)


def _weekdays(text: str) -> str:
    """Days by their names: in cron 0 and 7 are Sunday, in APScheduler 0 is Monday."""
    if text == "*":
        return text
    chosen: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if match is None or match[4] == "0":
            raise _wrong("day_of_week", text, f"{part!r} is no day, range or step", None)
        first, last = ("0", "6") if match[1] else (match[2], match[3] or match[2])
        start, end = _day(first, text), _day(last, text)
        if match[2] and not match[3] and match[4]:
            end = 6  # as in 1/2
        if end < start:
            end += 7  # as in fri-mon
        chosen += [_DAYS[day % 7] for day in range(start, end + 1, int(match[4] or 1))]
    return ",".join(dict.fromkeys(chosen))


def _day(text: str, whole: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) <= len(_DAYS):
        return int(text)
    raise _wrong(
        "day_of_week", whole, f"{text!r} is no day", "Days are sun to sat, or 0 to 7 (both Sunday)."
    )


def _wrong(field: str, value: str, why: str, remedy: str | None) -> ScheduleInvalidError:
    place = "" if field == "cron" else f": its field {field.replace('_', '-')} ({value})"
    return ScheduleInvalidError(
        f"The cron line cannot be used{place}: {why}.", remedy=remedy, data={"field": field}
    )


def parse_length(text: str, name: str) -> int:
    """Seconds from ``90s``, ``15m``, ``2h``, ``1d`` or ``1h30m``. Raises ScheduleInvalidError."""
    parts = re.findall(r"(\d{1,9})([smhd])", text.strip().lower())
    if not parts or "".join(n + unit for n, unit in parts) != text.strip().lower():
        raise ScheduleInvalidError(
            f"{text!r} is no length of time for {name}.",
            remedy="Write 30s, 15m, 2h, 1d or 1h30m.",
            data={"field": name},
        )
    return sum(int(n) * _UNITS[unit] for n, unit in parts)


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name. Raises ScheduleInvalidError with near names."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # also a folder of the zones' files
        import difflib
        from zoneinfo import available_timezones

        known = available_timezones()
        near = difflib.get_close_matches(name, known, n=3)
        guess = f"Did you mean {' or '.join(near)}?" if near else "Write it as Europe/Berlin."
        raise ScheduleInvalidError(
            f"There is no time zone {name!r}.",
            remedy=guess if known else "This machine knows no zones: pip install tzdata.",
            data={"field": "tz"},
        ) from None


def local_zone() -> str:
    """The name of this machine's zone; UTC where it has none."""
    from tzlocal import get_localzone_name

    try:
        return get_localzone_name() or "UTC"
    except (KeyError, ValueError, OSError):
        return "UTC"


@lru_cache(maxsize=512)
def times_of(cron: str | None, every_s: int | None, zone: str, anchor: float) -> Times:
    """What stands in the table, as moments. Raises ScheduleInvalidError."""
    if cron is not None:
        return Cron(cron, zone_named(zone))
    return Every(int(every_s or 0), anchor)
