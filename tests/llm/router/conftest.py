"""What the tests of routers share."""

from importlib import import_module

import pytest


@pytest.fixture(scope="session", autouse=True)
def sdks_are_imported() -> None:
    """Importing an SDK takes seconds on a busy machine; no deadline of a test should pay for it."""
    for name in (
        "langchain_anthropic",
        "langchain_openai",
        "anthropic.resources",
        "openai.resources",
    ):
        import_module(name)
