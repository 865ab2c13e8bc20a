"""Models with weights of chance."""

from pathlib import Path

import pytest

from nearfar.testing.models import make_random_model


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick model of random weights; it hardly ever ends by itself."""
    return make_random_model(tmp_path_factory.mktemp("models") / "random")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that takes some milliseconds for a token, so that things can happen in between."""
    folder = tmp_path_factory.mktemp("models") / "slow"
    return make_random_model(
        folder, layers=8, hidden=512, heads=8, kv_heads=4, vocab_size=2048, context_length=4096
    )
