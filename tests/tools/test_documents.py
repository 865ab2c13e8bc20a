"""`documents` finds passages and says where each is from."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.retrieval import Index
from nearfar.settings import Settings
from nearfar.tools import tool

EMBEDDINGS = DeterministicFakeEmbedding(size=16)


@pytest.fixture(autouse=True)
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "kiln.md").write_text("# Lamps\n\nThe green lamp is lit at 900 degrees.\n")
    Index.open("papers", create=True, embeddings=EMBEDDINGS).add([folder])
    return folder


def test_passages_are_numbered_and_cited(index: Path) -> None:
    documents = tool("documents", Settings(), embeddings=EMBEDDINGS)
    call = {"name": "documents", "args": {"question": "green lamp"}, "id": "1", "type": "tool_call"}
    message = documents.invoke(call)
    assert f"[1] {index / 'kiln.md'}, Lamps\n" in message.text
    assert "900 degrees" in message.text
    assert message.text.startswith("<<<data ")
    (passage,) = message.artifact["data"]
    assert passage["source"] == str(index / "kiln.md")


def test_an_index_that_is_not_there_is_told() -> None:
    documents = tool("documents", Settings(), embeddings=EMBEDDINGS)
    said = documents.invoke({"question": "x", "index": "other"})
    assert "no index 'other'" in said
    assert "Known: papers" in said
    gone = tool("documents", Settings(), index="gone", embeddings=EMBEDDINGS)
    assert "gone" in gone.invoke({"question": "x"})


def test_a_fixed_index_is_the_only_one() -> None:
    fixed = tool("documents", Settings(), index="papers", embeddings=EMBEDDINGS)
    assert "900" in fixed.invoke({"question": "lamp"})
    assert "no index 'other'" in fixed.invoke({"question": "lamp", "index": "other"})


class _Standard:
    @property
    def tool_constructor(self) -> Any:
        return tool("documents", Settings(), embeddings=EMBEDDINGS)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": "lamp"}


class TestUnit(_Standard, ToolsUnitTests):
    """LangChain's own suite."""


class TestIntegration(_Standard, ToolsIntegrationTests):
    """LangChain's own suite."""
