"""LangChain's own tests of caches, for both kinds."""

from pathlib import Path
from typing import Literal

import pytest
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from nearfar.llm.cache import ResponseCache
from nearfar.settings import CacheSettings

from .kit import Bag


class TestExact(SyncCacheTestSuite):
    """The same prompt only."""

    kind: Literal["exact", "semantic"] = "exact"

    @pytest.fixture
    def cache(self, tmp_path: Path) -> ResponseCache:
        options = CacheSettings(kind=self.kind)
        return ResponseCache(options=options, embeddings=Bag(), path=tmp_path / "cache.db")


class TestSemantic(TestExact):
    """Similar prompts too."""

    kind = "semantic"


class TestExactAsync(AsyncCacheTestSuite):
    """From an event loop."""

    kind: Literal["exact", "semantic"] = "exact"

    @pytest.fixture
    async def cache(self, tmp_path: Path) -> ResponseCache:
        options = CacheSettings(kind=self.kind)
        return ResponseCache(options=options, embeddings=Bag(), path=tmp_path / "cache.db")


class TestSemanticAsync(TestExactAsync):
    """From an event loop."""

    kind = "semantic"
