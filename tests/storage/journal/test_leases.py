"""Leases: when they end, and that an older fence never holds again."""

import asyncio
import dataclasses
import gc
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from nearfar.errors import LeaseLostError
from nearfar.storage import connect, migrate, transaction
from nearfar.storage.journal import leases
from nearfar.storage.journal.holders import Holder, this_process
from nearfar.storage.journal.journal import finished
from nearfar.storage.journal.leases import Lease, Watch
from nearfar.storage.journal.schema import MIGRATIONS, PART

HERE = this_process()
ELSEWHERE = Holder("another machine", "its boot", 1, 1.0)


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path / "journal.db")
    migrate(connection, MIGRATIONS, part=PART)
    yield connection
    connection.close()


def lease(holder: Holder | None, *, expires: float = 1010.0, beats: int = 0) -> Lease:
    return Lease("t", 1, "run", None if holder is None else str(holder), expires, 10.0, beats)


def test_a_holder_is_told_from_its_text() -> None:
    assert Holder.parse(str(HERE)) == HERE
    assert not HERE.is_dead()


def test_a_process_that_is_gone_or_another_one_with_its_id_is_dead() -> None:
    assert dataclasses.replace(HERE, started=HERE.started - 1000).is_dead()
    assert dataclasses.replace(HERE, pid=2**22 + 1).is_dead()
    assert not ELSEWHERE.is_dead()


@pytest.mark.skipif(not HERE.boot, reason="what tells one start of the machine is not known here")
def test_a_process_of_an_earlier_start_of_the_machine_is_dead() -> None:
    assert dataclasses.replace(HERE, boot="before").is_dead()


def test_a_lease_that_nobody_holds_has_ended() -> None:
    watch = Watch(HERE, Clock())
    assert watch.has_ended(None)
    assert watch.has_ended(lease(None))


@pytest.mark.skipif(not HERE.boot, reason="processes share no clock that is known to be one")
def test_a_lease_ends_by_the_clock_that_both_share() -> None:
    clock = Clock()
    watch = Watch(HERE, clock)
    assert not watch.has_ended(lease(HERE))
    clock.now = 1010.5
    assert watch.has_ended(lease(HERE))


def test_a_lease_of_elsewhere_ends_when_no_renewal_is_seen_for_its_length() -> None:
    clock = Clock()
    watch = Watch(HERE, clock)
    far_future = 10.0**9  # by a clock that means nothing here
    for beats in range(5):
        assert not watch.has_ended(lease(ELSEWHERE, expires=far_future, beats=beats))
        clock.now += 9
    assert not watch.has_ended(lease(ELSEWHERE, expires=far_future, beats=4))
    clock.now += 2
    assert watch.has_ended(lease(ELSEWHERE, expires=far_future, beats=4))


def test_a_clock_that_was_set_back_changes_nothing(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    watch = Watch(HERE, clock)
    monkeypatch.setattr("time.time", lambda: 0.0)
    with transaction(db):
        leases.take(db, "t", "run", watch, 10.0)
    clock.now += 11
    assert watch.has_ended(leases.read(db, "t"))


def test_each_taking_voids_the_fence_before_also_after_the_row_is_gone(
    db: sqlite3.Connection,
) -> None:
    watch = Watch(HERE, Clock())
    first = leases.take(db, "t", "run", watch, 10.0)
    first(db, "t")
    second = leases.take(db, "t", "run", watch, 10.0)
    with pytest.raises(LeaseLostError):
        first(db, "t")
    assert not leases.renew(db, first, 2000.0)
    assert leases.renew(db, second, 2000.0)
    leases.release(db, "t")
    with pytest.raises(LeaseLostError):
        second(db, "t")
    db.execute("DELETE FROM leases")
    third = leases.take(db, "t", "run", watch, 10.0)
    assert third.number > second.number
    with pytest.raises(LeaseLostError):
        second(db, "t")
    with pytest.raises(LeaseLostError):
        third(db, "another thread")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_a_forked_child_is_another_holder() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(this_process()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = Holder.parse(os.read(reading, 1000).decode())
    os.close(reading)
    os.close(writing)
    assert told.pid == child
    assert told.is_dead()


async def test_a_write_that_nobody_waits_for_any_more_goes_on_and_fails_in_silence() -> None:
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: heard.append(told))
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        begun.set()
        await let_go.wait()
        raise LeaseLostError("taken over")

    waiting = asyncio.create_task(finished(write()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert heard == []
