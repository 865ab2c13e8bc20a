"""LangChain's own conformance tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from nearfar.retrieval import FaissStore, HybridRetriever


class TestFaissStoreInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with FaissStore(self.get_embeddings()) as store:
            yield store


class TestFaissStoreOnDisk(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with FaissStore(self.get_embeddings(), path=tmp_path / "störe") as store:
            yield store


def test_the_suite_has_the_25_cases_that_are_meant() -> None:
    cases = [name for name in dir(VectorStoreIntegrationTests) if name.startswith("test_")]
    inherited = {"test_no_overrides_DO_NOT_OVERRIDE"}
    assert len(set(cases) - inherited) == 24
    assert len(cases) == 25


class TestHybridRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[HybridRetriever]:
        return HybridRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        texts = ["the first thing", "a second thing", "some third thing", "one more", "the last"]
        return {"store": FaissStore.from_texts(texts, DeterministicFakeEmbedding(size=6))}

    @property
    def retriever_query_example(self) -> str:
        return "which thing?"
