"""`documents`: finds passages in an index, each with the file, page and heading it is from."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import Field

from nearfar.errors import ToolFailedError
from nearfar.settings import Settings

from .base import Arguments, GuardedTool, Result, guarded

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from nearfar.retrieval import Passage


class DocumentsArguments(Arguments):
    """What `documents` takes."""

    question: str = Field(min_length=1, max_length=4000, description="What to look for.")
    index: str = Field(default="", description="The index's name, where there are several.")
    k: int = Field(default=5, ge=1, le=50, description="How many passages, at most.")


def documents(
    settings: Settings, *, index: str | None = None, embeddings: "Embeddings | None" = None
) -> GuardedTool:
    """Passages with their sources. ``index`` fixes the index for all calls."""
    fixed = index or settings.tools.documents.index

    def which(index: str) -> str:
        if fixed and index in ("", fixed):
            return fixed
        from nearfar.retrieval import Index

        known = [fixed] if fixed else Index.names()
        if not index and len(known) == 1:
            return known[0]
        if index not in known:
            raise ToolFailedError(
                f"There is no index '{index[:60]}' here." if index else "Name an index.",
                remedy=f"Known: {', '.join(known) or 'none; `nearfar index add` makes one'}.",
            )
        return index

    def facts(*, index: str, **_arguments: object) -> dict[str, str]:
        return {"index": which(index)}

    def search(question: str, index: str, k: int) -> Result:
        from nearfar.retrieval import Index

        name = which(index)
        found = Index.open(name, settings=settings, embeddings=embeddings).search(question, k)
        if not found:
            return Result("Nothing was found.", data=[])
        return Result(
            _cited(found), source=f"documents of the index {name}", data=[asdict(p) for p in found]
        )

    known = f"the index {fixed}" if fixed else "an index of documents"
    return guarded(
        settings,
        name="documents",
        description=f"Searches {known} and returns numbered passages with their sources, to cite as [1].",
        args=DocumentsArguments,
        body=search,
        default="allow",
        effects=False,
        facts=facts,
    )


def _cited(passages: "Sequence[Passage]") -> str:
    return "\n\n".join(
        f"[{number}] {_where(passage)}\n{passage.text}"
        for number, passage in enumerate(passages, start=1)
    )


def _where(passage: "Passage") -> str:
    parts = [passage.source]
    if passage.page is not None:
        parts.append(f"page {passage.page}")
    if passage.heading:
        parts.append(passage.heading)
    return ", ".join(parts)
