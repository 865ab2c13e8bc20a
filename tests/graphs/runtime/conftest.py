"""What is promised of runs holds over both databases."""

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of ``storage.url``, by the environment."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
        monkeypatch.setenv("NEARFAR__STORAGE__URL", url)
    return str(request.param)
