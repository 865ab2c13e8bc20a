"""What the tests of routers share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def sdks_are_imported() -> None:
    """Importing an SDK takes seconds on a busy machine; no deadline of a test should pay for it."""
    import anthropic.resources
    import langchain_anthropic
    import langchain_openai
    import openai.resources  # noqa: F401
