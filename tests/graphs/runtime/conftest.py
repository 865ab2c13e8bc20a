"""What is promised of runs holds over both databases."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer

from .children import Children, Forge


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of ``storage.url``, by the environment."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
        monkeypatch.setenv("NEARFAR__STORAGE__URL", url)
    return str(request.param)


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    made = Forge()
    yield made
    made.close()


@pytest.fixture
def children(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Children:
    """Processes over SQLite."""
    return Children(forge, tmp_path_factory.mktemp("children"))


@pytest.fixture
def distant(
    forge: Forge, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Children:
    """Processes over Postgres."""
    return Children(forge, tmp_path_factory.mktemp("children"), postgres_server.new_schema)


@pytest.fixture(params=["children", "distant"], ids=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest) -> Children:
    """Processes over the one, then over the other."""
    made: Children = request.getfixturevalue(request.param)
    return made
