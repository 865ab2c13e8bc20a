"""What a checked answer is shown with: its citations, and how far it can be relied on."""

from typing import TypedDict

from .citations import Checked, score_of
from .evidence import Candidate, Found


class Citation(TypedDict):
    """Where a part of the answer stands; ``quote`` is the passage's own text."""

    n: int
    source: str
    page: int | None
    heading: str | None
    quote: str
    score: float  # 0..1: how likely this sentence answers, by retrieval


def confidence(checked: Checked, cited: list[Citation]) -> float:
    """0..1: kept * evidence * (1 + support) / 2.

    ``kept`` is the share of citations and quotes that held, ``evidence`` how likely the best quoted
    sentence answers the question (by retrieval), ``support`` how much of each sentence of the
    answer stands in the quoted ones, on average. Without any citation it is at most 0.1.
    """
    if not cited:
        return 0.1 if not checked.removed else 0.05
    evidence = max(citation["score"] for citation in cited)
    kept = len(cited) / (len(cited) + checked.removed)
    return round(kept * evidence * (1 + checked.support) / 2, 3)


def citations_of(
    checked: Checked, shown: list[Found], candidates: list[Candidate]
) -> list[Citation]:
    """The citations as they are shown; ``candidates`` say how likely each quote answers."""
    return [
        Citation(
            n=cited.n,
            source=shown[cited.n - 1]["source"],
            page=shown[cited.n - 1]["page"],
            heading=shown[cited.n - 1]["heading"],
            quote=cited.quote,
            score=round(score_of(cited, candidates), 3),
        )
        for cited in checked.cited
    ]
