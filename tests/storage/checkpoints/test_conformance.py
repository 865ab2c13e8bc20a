"""Both checkpointers pass LangGraph's own conformance suite, all of it."""

from collections.abc import AsyncIterator
from typing import Any

from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.conformance.initializer import checkpointer_test
from langgraph.checkpoint.conformance.validate import validate

from .conftest import Open


async def test_base_and_extended_capabilities(store: Open) -> None:
    async def factory() -> AsyncIterator[Any]:
        async with store() as saver:
            yield saver

    report = await validate(checkpointer_test(name="nearfar")(factory))
    assert set(report.results) == {capability.value for capability in ALL_CAPABILITIES}
    assert {name: result.failures for name, result in report.results.items()} == {
        name: [] for name in report.results
    }
    assert all(result.passed for result in report.results.values())
