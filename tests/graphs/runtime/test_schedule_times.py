"""Cron lines, zones and intervals: which moments they are."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ScheduleInvalidError
from nearfar.graphs.runtime.schedules.times import Cron, Every, parse_length, zone_named

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # its clock went forward at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kolkata",
    "Pacific/Apia",  # skipped a whole day
)
MOMENTS = (  # near a change of some zone's clock, and elsewhere
    datetime(2018, 11, 3, 20, tzinfo=UTC),
    datetime(2026, 3, 28, 12, tzinfo=UTC),
    datetime(2026, 10, 24, 20, tzinfo=UTC),
    datetime(2026, 10, 3, 10, tzinfo=UTC),
    datetime(2026, 4, 4, 10, tzinfo=UTC),
    datetime(2011, 12, 29, 12, tzinfo=UTC),
    datetime(2026, 7, 1, tzinfo=UTC),
)
DAY_S = 86_400


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def times(cron: Any, start: float, end: float) -> list[float]:
    found = []
    moment = cron.after(start)
    while moment is not None and moment < end:
        found.append(moment)
        moment = cron.after(moment)
    return found


def wall_of(moment: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)


def by_hand(line: str, zone: ZoneInfo, start: float, end: float) -> list[float]:
    """Minute by minute: what a person would do who watches the clock on the wall."""
    passing = line.split()[1].startswith("*")
    found: list[float] = []
    before = wall_of(start, zone)
    seen = set()
    minute = start - start % 60 - 3 * 3600
    shown = wall_of(minute - 60, zone)
    while minute < end:
        before, shown = shown, wall_of(minute, zone)
        jumped = [
            before + timedelta(minutes=n)
            for n in range(1, int((shown - before) / timedelta(minutes=1)))
        ]
        due = croniter.match(line, shown) and (passing or shown not in seen)
        seen.add(shown)
        if not passing and not due:
            due = any(croniter.match(line, wall) for wall in jumped)
        if due and minute > start:
            found.append(minute)
        minute += 60
    return found


HOURS = st.one_of(
    st.sampled_from(["*", "*/2", "0", "1", "2", "3", "0-4", "23"]),
    st.integers(0, 23).map(str),
)
LINES = st.builds(
    "{} {} {} * {}".format,
    st.sampled_from(["0", "15", "30", "45", "*/20", "5,50", "*"]),
    HOURS,
    st.sampled_from(["*", "*/2", "1-15"]),
    st.just("*"),
)


@settings(max_examples=6, deadline=None)
@given(LINES, st.sampled_from(ZONES), st.sampled_from(MOMENTS), st.integers(0, 900))
def test_moments_are_those_of_a_person_who_watches_the_clock(
    line: str, zone: str, near: datetime, minutes: int
) -> None:
    start = near.timestamp() + 60 * minutes
    end = start + 0.75 * DAY_S
    assert times(Cron(line, ZoneInfo(zone)), start, end) == by_hand(
        line, ZoneInfo(zone), start, end
    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("line", ["0 0 * * *", "30 2 * * *"])
def test_a_daily_time_comes_on_each_day(zone: str, line: str) -> None:
    start, days = at("2011-10-01T12:00+00:00"), 190
    here = ZoneInfo(zone)
    found = times(Cron(line, here), start, start + days * DAY_S)
    shown = {wall_of(start + hour * 3600, here).date() for hour in range(24, 24 * (days - 1))}
    fired = [wall_of(moment, here).date() for moment in found]
    assert shown <= set(fired)
    twice = zone == "Pacific/Apia" and line != "0 0 * * *"  # also for the day that was skipped
    assert len(fired) - len(set(fired)) == twice


@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        # The clock jumps from 2 to 3: what falls into the jump is due right after it, once.
        (
            "30 2 * * *",
            "2026-03-28T12:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
        ),
        (
            "*/20 2 * * *",
            "2026-03-29T00:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"],
        ),
        # Hourly: the hours that pass count.
        (
            "15 * * * *",
            "2026-03-29T01:00+01:00",
            ["2026-03-29T01:15+01:00", "2026-03-29T03:15+02:00"],
        ),
        # 2 to 3 comes twice: a time of the day is due when it comes first, an hourly one each hour.
        (
            "30 2 * * *",
            "2026-10-25T00:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
        ),
        (
            "30 * * * *",
            "2026-10-25T02:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"],
        ),
        # The day after a change is a day like any other.
        (
            "0 0 * * *",
            "2026-03-29T00:00+01:00",
            ["2026-03-30T00:00+02:00", "2026-03-31T00:00+02:00"],
        ),
    ],
)
def test_times_that_the_clock_skips_or_shows_twice(
    line: str, start: str, expected: list[str]
) -> None:
    cron = Cron(line, ZoneInfo("Europe/Berlin"))
    found = times(cron, at(start), at(start) + 3 * DAY_S)
    assert found[: len(expected)] == [at(text) for text in expected]


@pytest.mark.parametrize(
    ("line", "weekdays"),
    [
        ("0 9 * * 1-5", "mon tue wed thu fri"),
        ("0 9 * * 0", "sun"),
        ("0 9 * * 7", "sun"),
        ("0 9 * * 5-7", "sun fri sat"),
        ("0 9 * * fri-mon", "sun mon fri sat"),
        ("0 9 * * */2", "sun tue thu sat"),
        ("0 9 * * MON,3", "mon wed"),
        ("@weekly", "sun"),
        ("@daily", "sun mon tue wed thu fri sat"),
    ],
)
def test_days_of_the_week_are_counted_as_crontab_counts_them(line: str, weekdays: str) -> None:
    found = times(
        Cron(line, ZoneInfo("UTC")),
        at("2026-11-15T00:30+00:00") - DAY_S,
        at("2026-11-21T23:00+00:00"),
    )
    names = {datetime.fromtimestamp(moment, UTC).strftime("%a").lower() for moment in found}
    assert names == set(weekdays.split())


def test_a_day_of_the_month_or_of_the_week_as_crontab_has_it() -> None:
    found = times(
        Cron("0 0 13 * fri", ZoneInfo("UTC")),
        at("2026-11-01T00:00+00:00"),
        at("2026-12-01T00:00+00:00"),
    )
    assert [datetime.fromtimestamp(moment, UTC).day for moment in found] == [6, 13, 20, 27]


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        ("61 * * * *", "minute", "61"),
        ("* 24 * * *", "hour", "24"),
        ("* * 32 * *", "day", "32"),
        ("* * * foo *", "month", "foo"),
        ("* * * * 8", "day_of_week", "'8' is no day"),
        ("* * * * mon-", "day_of_week", "mon-"),
        ("*/0 * * * *", "minute", "higher than 0"),
        ("1-x * * * *", "minute", "1-x"),
        ("* * last * *", "day", "no number"),
        ("* * * *", "cron", "4 fields"),
        ("", "cron", "0 fields"),
        ("@sometimes", "cron", "not known"),
        ("0 0 31 2 *", "day", "no such day"),
    ],
)
def test_a_wrong_line_is_refused_with_its_field(line: str, field: str, said: str) -> None:
    with pytest.raises(ScheduleInvalidError) as caught:
        Cron(line, ZoneInfo("UTC"))
    assert caught.value.data["field"] == field
    assert said in caught.value.message


@pytest.mark.parametrize(
    "name", ["Europe/Berln", "", "../etc/passwd", "Europe", "/etc/localtime", "a\0b"]
)
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ScheduleInvalidError) as caught:
        zone_named(name)
    assert caught.value.data["field"] == "tz"


def test_a_zone_that_is_nearly_right_is_guessed() -> None:
    with pytest.raises(ScheduleInvalidError, match="Berln") as caught:
        zone_named("Europe/Berln")
    assert "Europe/Berlin" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1d", 86_400)]
)
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert parse_length(text, "every") == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "15 m", "-3m", "1w"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ScheduleInvalidError):
        parse_length(text, "every")


def test_all_missed_times_of_an_interval_are_counted_at_once() -> None:
    every = Every(7, anchor=100.0)
    chance = random.Random(3)
    for _ in range(100):
        start = chance.uniform(90, 500)
        first = every.after(start)
        assert first is not None
        assert first > start or first == 107
        assert (first - 100) % 7 == 0
        now = first + chance.uniform(0, 1e6)
        count, last = every.until(first, now, limit=1)
        assert last <= now < last + 7
        assert count == (last - first) / 7 + 1
