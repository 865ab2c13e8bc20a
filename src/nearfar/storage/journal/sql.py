"""The journal's statements; each function is called inside a transaction of its caller.

What changes a run holds its thread, so that nobody else changes the thread's runs meanwhile.
"""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearfar.errors import (
    RunConflictError,
    RunNotFoundError,
    RunStateError,
    ThreadBusyError,
)
from nearfar.storage.dialect import Statements, lock

from . import leases
from .leases import Fence, Watch
from .records import PRIORITIES, Blob, Finish, NewRun, Record

ENDED = ("succeeded", "failed", "cancelled")
_OPEN = "status NOT IN ('succeeded', 'failed', 'cancelled')"
_FIELDS = (
    "id, seq, workflow, reference, folder, thread_id, input_form, input, digest, idempotency_key,"
    " tenant, priority, base, forked_from, status, attempt, crashes, mark, begun, fence, home,"
    " answers_form, answers, approved, output, error, questions, usage, cost_usd, head,"
    " created_at, updated_at, expires_at, wake_at, apart"
)


@dataclass(frozen=True)
class Claim:
    """A run that this process works on from now on."""

    record: Record
    fence: Fence


@dataclass(frozen=True)
class Dropped:
    """What nobody needs any more since runs were forgotten."""

    threads: list[str] = field(default_factory=list)  # no run is left of them
    outputs: dict[str, list[str]] = field(default_factory=dict)  # of other threads: the runs' ids


@dataclass(frozen=True)
class Candidate:
    """A run that nobody works on."""

    order: tuple[int, int, int]
    id: str
    crashes: int
    home: str  # the process that is to begin it; empty: any
    orphan: bool  # it was begun, and its process is gone


def record_of(row: Sequence[Any]) -> Record:
    """A row of ``_FIELDS`` as a record."""
    v = dict(zip(_FIELDS.split(", "), row, strict=True))
    v["input"] = (v.pop("input_form"), v["input"])
    form = v.pop("answers_form")
    v["answers"] = None if v["answers"] is None else (form, v["answers"])
    for name in ("output", "error", "questions", "usage", "apart"):
        v[name] = None if v[name] is None else json.loads(v[name])
    return Record(**v)


def get(db: Statements, run_id: str) -> Record:
    """The run. Raises RunNotFoundError."""
    row = db.execute(f"SELECT {_FIELDS} FROM runs WHERE id = ?", (run_id,)).fetchone()  # noqa: S608 - our own names
    if row is None:
        raise RunNotFoundError(f"There is no run {run_id!r}.", data={"run_id": run_id})
    return record_of(row)


def find(
    db: Statements,
    *,
    status: str | None = None,
    workflow: str | None = None,
    thread_id: str | None = None,
    tenant: str | None = None,
    idempotency_key: str | None = None,
    prefix: str | None = None,
    limit: int = -1,
) -> list[Record]:
    """The runs that fit, the latest first; ``limit`` -1: all."""
    wanted = {
        "status = ?": status,
        "workflow = ?": workflow,
        "thread_id = ?": thread_id,
        "tenant = ?": tenant,
        "idempotency_key = ?": idempotency_key,
    }
    if prefix is not None:
        wanted["id LIKE ?"] = f"{prefix}%"
    parts = [part for part, value in wanted.items() if value is not None]
    values = [value for value in wanted.values() if value is not None]
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    most = f"LIMIT {int(limit)}" if limit >= 0 else ""
    query = f"SELECT {_FIELDS} FROM runs {where} ORDER BY seq DESC {most}"  # noqa: S608
    return [record_of(row) for row in db.execute(query, values).fetchall()]


def accept(db: Statements, new: NewRun, home: str) -> tuple[Record, bool]:
    """Write the run down; False beside it when the key stands for a run already.

    Raises RunConflictError for a key that stands for another request, ThreadBusyError.
    """
    if new.idempotency_key is not None:
        lock(db, f"key {new.tenant} {new.idempotency_key}")
        row = db.execute(
            f"SELECT {_FIELDS} FROM runs WHERE tenant = ? AND idempotency_key = ?",  # noqa: S608
            (new.tenant, new.idempotency_key),
        ).fetchone()
        if row is not None:
            return _same(record_of(row), new), False
    lock(db, new.thread_id)
    _check_thread(db, new.thread_id)
    now = time.time()
    db.execute(
        "INSERT INTO runs (id, workflow, reference, folder, thread_id, input_form, input, digest,"
        " idempotency_key, tenant, priority, base, forked_from, status, home, created_at,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
        (
            *(new.id, new.workflow, new.reference, new.folder, new.thread_id, *new.input),
            *(new.digest, new.idempotency_key, new.tenant, new.priority, new.base),
            *(new.forked_from, home, now, now),
        ),
    )
    return get(db, new.id), True


def _same(record: Record, new: NewRun) -> Record:
    if record.digest != new.digest:
        raise RunConflictError(
            f"The idempotency key {new.idempotency_key!r} stands for the run {record.id}, which "
            "has another workflow, input or thread.",
            data={"run_id": record.id},
        )
    return record


def _check_thread(db: Statements, thread_id: str) -> None:
    row = db.execute(
        "SELECT id, status FROM runs WHERE thread_id = ? AND status IN ('waiting', 'reconcile')",
        (thread_id,),
    ).fetchone()
    if row is not None:
        raise ThreadBusyError(
            f"The run {row[0]} of the thread {thread_id!r} waits for a person.",
            remedy=f"Answer it: nearfar runs approve {row[0]}; or give it up: nearfar runs "
            f"cancel {row[0]}.",
            data={"thread_id": thread_id, "run_id": row[0]},
        )


def claimable(db: Statements, watch: Watch, only: Collection[str] | None = None) -> list[Candidate]:
    """Runs that nobody works on, by priority and age; of those named in ``only``, if that is given."""
    now = time.time()
    columns = (
        f"runs.id, runs.thread_id, seq, status, crashes, priority, home, wake_at, {leases.COLUMNS}"
    )
    wanted = f"{_OPEN} AND status IN ('queued', 'running', 'parked')"
    if only is not None:
        wanted += f" AND runs.id IN ({', '.join('?' for _ in only)})"
    rows = db.execute(
        f"SELECT {columns} FROM runs LEFT JOIN leases USING (thread_id) WHERE {wanted} ORDER BY seq",  # noqa: S608
        list(only or ()),
    ).fetchall()
    found = []
    busy: set[str] = set()
    for run_id, thread_id, seq, status, crashes, priority, home, wake_at, *lease in rows:
        first = thread_id not in busy
        busy.add(thread_id)
        due = now >= wake_at if wake_at is not None else status != "parked"
        held = None if lease[0] is None else leases.Lease(*lease)
        if first and due and watch.has_ended(held):
            order = (crashes, PRIORITIES[priority], seq)
            found.append(Candidate(order, run_id, crashes, home, orphan=status == "running"))
    return sorted(found, key=lambda one: one.order)


def claim(db: Statements, run_id: str, watch: Watch, length_s: float) -> Claim | None:
    """Work on the run from now on; None when another does, or another run comes first."""
    record = _held(db, run_id)
    if record.status not in ("queued", "running", "parked"):
        return None
    if not watch.has_ended(leases.read(db, record.thread_id)):
        return None
    first = db.execute(
        f"SELECT id FROM runs WHERE thread_id = ? AND {_OPEN} ORDER BY seq LIMIT 1",  # noqa: S608
        (record.thread_id,),
    ).fetchone()
    if first[0] != run_id:
        return None
    fence = leases.take(db, record.thread_id, run_id, watch, length_s)
    # Only a death at its work speaks against a run; the first one may be anyone's.
    at_work = record.crashes == 0 or record.begun == record.attempt
    died = int(record.status == "running" and at_work)
    db.execute(
        "UPDATE runs SET status = 'running', attempt = attempt + 1, crashes = crashes + ?,"
        " fence = ?, home = ?, wake_at = NULL, updated_at = ? WHERE id = ?",
        (died, fence.number, str(watch.holder), time.time(), run_id),
    )
    return Claim(get(db, run_id), fence)


def note(db: Statements, run_id: str, fence: Fence, values: dict[str, Any]) -> None:
    """Set columns (``base``, ``crashes``, ``mark``, ``begun``) of a run that is worked on."""
    fence(db, fence.thread_id)
    columns = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*values.values(), run_id))  # noqa: S608


def finish(db: Statements, run_id: str, fence: Fence, end: Finish) -> None:
    """Write the end of an attempt down and let go of the thread. Raises LeaseLostError."""
    lock(db, fence.thread_id)
    fence(db, fence.thread_id)
    leases.release(db, fence.thread_id)
    db.execute(
        "UPDATE runs SET status = ?, output = ?, apart = ?, error = ?, questions = ?, usage = ?, cost_usd = ?,"
        " head = ?, expires_at = ?, wake_at = ?, answers = NULL, crashes = 0, mark = NULL,"
        " home = CASE ? WHEN 'parked' THEN '' ELSE home END,"  # whoever is there when it is due
        " updated_at = ? WHERE id = ?",
        (
            *(end.status, _text(end.output), _text(list(end.apart))),
            *(_text(end.error), _text(end.questions)),
            *(_text(end.usage), end.cost_usd, end.head, end.expires_at, end.wake_at),
            *(end.status, time.time(), run_id),
        ),
    )


def hand_back(db: Statements, run_id: str, fence: Fence, *, wake_at: float | None = None) -> None:
    """Stop working on the run without an end: whoever is next goes on. Raises LeaseLostError."""
    lock(db, fence.thread_id)
    fence(db, fence.thread_id)
    leases.release(db, fence.thread_id)
    db.execute(
        "UPDATE runs SET status = 'queued', home = '', wake_at = ?, updated_at = ? WHERE id = ?",
        (wake_at, time.time(), run_id),
    )


def cancel(db: Statements, run_id: str) -> Record:
    """Whatever works on the run can write nothing from now on. Raises RunStateError."""
    record = _held(db, run_id)
    if record.status == "cancelled":
        return record
    if record.status in ENDED:
        raise _wrong(record, "cannot be cancelled")
    if record.status == "running":
        leases.release(db, record.thread_id)
    db.execute(
        "UPDATE runs SET status = 'cancelled', expires_at = NULL, wake_at = NULL, updated_at = ?"
        " WHERE id = ?",
        (time.time(), run_id),
    )
    return get(db, run_id)


def again(
    db: Statements,
    run_id: str,
    home: str,
    *,
    allowed: Sequence[str],
    answers: Blob | None = None,
    approved: str | None = None,
) -> Record:
    """Put a run that stands still back into the queue. Raises RunStateError."""
    record = _held(db, run_id)
    if record.status not in allowed:
        raise _wrong(record, "cannot be answered" if answers else "cannot be resumed")
    later = db.execute(
        "SELECT id FROM runs WHERE thread_id = ? AND seq > ? AND attempt > 0 LIMIT 1",
        (record.thread_id, record.seq),
    ).fetchone()
    if later is not None:
        raise RunStateError(
            f"The run {run_id} cannot be resumed: its thread went on with the run {later[0]}.",
            remedy=f"Start from an earlier state of it: nearfar runs fork {run_id} --at CHECKPOINT.",
            data={"run_id": run_id, "status": record.status},
        )
    form, blob = answers or (None, None)
    db.execute(
        "UPDATE runs SET status = 'queued', home = ?, answers_form = ?, answers = ?,"
        " approved = coalesce(?, approved), error = NULL, expires_at = NULL, wake_at = NULL,"
        " crashes = 0, mark = NULL, updated_at = ? WHERE id = ?",
        (home, form, blob, approved, time.time(), run_id),
    )
    return get(db, run_id)


def any_expired(db: Statements) -> bool:
    """Whether a run waits for a person for too long."""
    query = "SELECT 1 FROM runs WHERE status = 'waiting' AND expires_at <= ? LIMIT 1"
    return db.execute(query, (time.time(),)).fetchone() is not None


def expire(db: Statements, error: dict[str, Any]) -> list[str]:
    """Fail the runs that waited too long for a person; their ids."""
    now = time.time()
    rows = db.execute(
        "UPDATE runs SET status = 'failed', error = ?, expires_at = NULL, updated_at = ?"
        " WHERE status = 'waiting' AND expires_at <= ? RETURNING id",
        (_text(error), now, now),
    ).fetchall()
    return [row[0] for row in rows]


def prune(db: Statements, before: float) -> Dropped:
    """Forget runs that ended before then, with their leases."""
    ended = "status IN ('succeeded', 'failed', 'cancelled') AND updated_at < ?"
    return _drop(db, ended, before)


def forget(db: Statements, run_id: str) -> Dropped:
    """Forget a run that ended."""
    return _drop(db, "status IN ('succeeded', 'failed', 'cancelled') AND id = ?", run_id)


def _drop(db: Statements, where: str, value: Any) -> Dropped:
    query = f"DELETE FROM runs WHERE {where} RETURNING thread_id, id"  # noqa: S608
    rows = db.execute(query, (value,)).fetchall()
    dropped = Dropped()
    for thread_id in sorted({row[0] for row in rows}):
        lock(db, thread_id)
        if not db.execute("SELECT 1 FROM runs WHERE thread_id = ?", (thread_id,)).fetchone():
            db.execute("DELETE FROM leases WHERE thread_id = ?", (thread_id,))
            dropped.threads.append(thread_id)
        else:
            dropped.outputs[thread_id] = [row[1] for row in rows if row[0] == thread_id]
    return dropped


def _held(db: Statements, run_id: str) -> Record:
    """The run, which only this transaction changes from now on. Raises RunNotFoundError."""
    lock(db, get(db, run_id).thread_id)
    return get(db, run_id)


def _wrong(record: Record, what: str) -> RunStateError:
    return RunStateError(
        f"The run {record.id} {what}: it is {record.status}.",
        data={"run_id": record.id, "status": record.status},
    )


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
