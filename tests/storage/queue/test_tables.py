"""Procrastinate's tables fit the Procrastinate that uses them, or a typed error says what to do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("procrastinate")

import psycopg
from procrastinate.schema import SchemaManager

from nearfar.errors import SchemaVersionError
from nearfar.storage.queue.tables import make_tables

NEWEST = "procrastinate_retry_job_v2"
OLDER = "03.03.00_01_pre_priority_lock_fetch_job.sql"


@pytest.fixture
async def connection(postgres_database: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(
        postgres_database, autocommit=True
    ) as connection:
        yield connection


async def make_older(connection: Any, *, noted: bool) -> None:
    """The tables as they were before the last migration."""
    await connection.execute(SchemaManager.get_schema())
    await connection.execute(f"DROP FUNCTION {NEWEST}")
    await connection.execute(
        "ALTER TYPE procrastinate_job_event_type RENAME VALUE 'retried' TO 'not_known_yet'"
    )
    await connection.execute("CREATE TABLE queue_schema (migration TEXT NOT NULL)")
    if noted:
        await connection.execute("INSERT INTO queue_schema VALUES (%s)", (OLDER,))


async def has_newest(connection: Any) -> bool:
    row = await (
        await connection.execute(
            "SELECT count(*) FROM pg_proc WHERE proname = %s AND pg_function_is_visible(oid)",
            (NEWEST,),
        )
    ).fetchone()
    return bool(row[0])


async def test_tables_are_made_once_and_stay(connection: Any) -> None:
    for _ in range(2):
        await make_tables(connection)
        assert await has_newest(connection)


async def test_older_tables_get_what_they_lack(connection: Any) -> None:
    await make_older(connection, noted=True)
    await make_tables(connection)
    assert await has_newest(connection)
    await make_tables(connection)


async def test_tables_that_workers_use_are_left_as_they_are(connection: Any) -> None:
    await make_older(connection, noted=True)
    await connection.execute(
        "CREATE TABLE workers (holder TEXT, length_s FLOAT, seen DOUBLE PRECISION)"
    )
    await connection.execute(
        "INSERT INTO workers VALUES ('a', 30, extract(epoch FROM clock_timestamp()))"
    )
    with pytest.raises(SchemaVersionError, match="older Procrastinate") as caught:
        await make_tables(connection)
    assert "Stop all workers" in str(caught.value.remedy)
    assert not await has_newest(connection)
    await connection.execute("UPDATE workers SET seen = seen - 61")
    await make_tables(connection)
    assert await has_newest(connection)


async def test_tables_that_do_not_fit_are_refused(connection: Any) -> None:
    await make_older(connection, noted=False)
    with pytest.raises(SchemaVersionError, match=f"another Procrastinate.* lack {NEWEST}"):
        await make_tables(connection)
    await connection.execute("INSERT INTO queue_schema VALUES ('99.00.00_01_post_future.sql')")
    with pytest.raises(SchemaVersionError, match="a newer Procrastinate"):
        await make_tables(connection)


async def test_newer_tables_do_when_nothing_is_missing(connection: Any) -> None:
    await make_tables(connection)
    await connection.execute("UPDATE queue_schema SET migration = '99.00.00_01_pre_future.sql'")
    await make_tables(connection)
