"""Postgres as the store of runs: refused when it is away, told when its package is not there."""

import asyncio
import sys

import pytest

import nearfar
from nearfar.errors import ConfigurationError, DatabaseError, MissingPackageError
from nearfar.settings import Settings
from nearfar.storage.journal import open_journal
from nearfar.storage.pools import has_news
from nearfar.storage.postgres import connect_postgres
from tests.postgres import PostgresServer

AWAY = "postgresql://somebody:secret-word@127.0.0.1:1/none"


def settings(url: str) -> Settings:
    return Settings.model_validate({"storage": {"url": url}})


async def test_a_server_that_is_away_refuses_the_start_and_tells_no_password() -> None:
    with pytest.raises(DatabaseError) as caught:
        async with nearfar.Runner(settings(AWAY)):
            pass
    assert "secret-word" not in f"{caught.value} {caught.value.to_dict()}"
    assert "secret-word" not in repr(settings(AWAY))


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError) as caught:
        open_journal(settings(AWAY))
    assert "nearfar[postgres]" in str(caught.value.remedy)


def test_another_kind_of_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFAR__STORAGE__URL", "mysql://somewhere/db")
    with pytest.raises(ConfigurationError):
        nearfar.load_settings()


def test_limits_without_a_server_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFAR__QUEUE__TENANTS", '{"*": {"concurrency": 1}}')
    with pytest.raises(ConfigurationError, match="Postgres"):
        nearfar.load_settings()


def test_a_connection_that_the_server_closed_has_news(postgres_server: PostgresServer) -> None:
    connection = connect_postgres(postgres_server.url)
    assert not has_news(connection.raw)
    postgres_server.restart()
    assert has_news(connection.raw)
    with pytest.raises(DatabaseError):
        connection.execute("SELECT 1")
    connection.close()


async def test_programs_that_come_first_at_the_same_time_all_find_the_tables(
    postgres_database: str,
) -> None:
    """LangGraph's indexes wait for every statement that runs, one that waits for them too."""

    async def come() -> None:
        async with nearfar.Runner(settings(postgres_database), work=False) as runner:
            assert await runner.list() == []

    async with asyncio.timeout(30):
        await asyncio.gather(*(come() for _ in range(4)))
