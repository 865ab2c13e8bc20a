"""Questions about our own documentation: where on the way to an answer its sentence is lost.

python -m tests.graphs.docs_questions      prints the figures, and names the questions lost (dev half)
"""

import json
import random
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.graphs.ask import build_ask
from nearfar.graphs.evidence import Candidate, Found, rank, shortlist
from nearfar.llm import LocalEmbeddings
from nearfar.retrieval import Index

DATA = Path(__file__).parents[1] / "data"
FOLDER = DATA / "docs_questions"
ROUTER_FIGURES = DATA.parents[1] / "benchmarks" / "router.md"

Half = Literal["dev", "held"]


@dataclass(frozen=True)
class Question:
    """``answers``: page and a piece of the sentence, blanks squeezed; none: the pages do not say."""

    half: Half
    text: str
    answers: tuple[tuple[str, str], ...]

    def is_answered_by(self, text: str, source: str) -> bool:
        """Whether the text is of one of the pages and holds its piece."""
        held, path = _squeezed(text), Path(source).as_posix()
        return any(path.endswith(f"/{page}") and piece in held for page, piece in self.answers)


def questions() -> list[Question]:
    """All of them."""
    lines = (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Question(
            row["split"],
            row["question"],
            tuple((page, _squeezed(piece)) for page, piece in row["answers"]),
        )
        for row in map(json.loads, lines)
    ]


def pages() -> dict[str, str]:
    """The documentation as it was when the questions were written."""
    with zipfile.ZipFile(FOLDER / "pages.zip") as kept:
        return {name: kept.read(name).decode() for name in kept.namelist()}


def write_pages(folder: Path) -> Path:
    """The pages as files."""
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_noise(folder: Path, seed: int = 5) -> Path:
    """Pages that answer nothing: figures, a list of changes, and texts about something else.

    The first two are made of the pages' own headings and names, so their words are the right ones.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(pages().values())
    headings = sorted(set(re.findall(r"^#+ (.+)$", text, re.MULTILINE)))
    figures = [
        f"| {one} | {rng.uniform(1, 900):.1f} | {rng.uniform(1, 9):.2f} |" for one in headings
    ]
    table = ["# Figures", "", "| what | ms | ratio |", "|---|---:|---:|", *figures]
    (folder / "figures.md").write_text("\n".join(table), encoding="utf-8")
    (folder / "router.md").write_bytes(ROUTER_FIGURES.read_bytes())
    (folder / "changes.md").write_text("\n".join(_changes(rng, text)), encoding="utf-8")
    size = 0
    with zipfile.ZipFile(DATA / "quality" / "corpus.zip") as corpus:
        for name in rng.sample(sorted(corpus.namelist()), 40):
            other = corpus.read(name).decode()
            if size + len(other) < 45_000:
                size += len(other)
                (folder / Path(name).name).write_text(other, encoding="utf-8")
    return folder


def _changes(rng: random.Random, text: str) -> Iterator[str]:
    names = sorted(set(re.findall(r"`([a-z_.]{5,})`", text)))
    yield "# Changes"
    for version in range(12):
        yield f"\n## 0.{version}.0\n"
        for _ in range(14):
            what, where = rng.sample(names, 2)
            deed = rng.choice(["Mended", "Renamed", "Documented", "Moved", "Checked", "Reverted"])
            when = rng.choice(
                ["was set twice", "came late", "is not known", "ran out", "was asked"]
            )
            yield f"- {deed} `{what}` where `{where}` {when}."


class Embedded:
    """Each text is embedded once."""

    def __init__(self) -> None:
        self.model = LocalEmbeddings()
        self._kept: dict[str, list[float]] = {}

    def __call__(self, texts: list[str]) -> list[list[float]]:
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        self._kept.update(zip(missing, self.model.embed_documents(missing), strict=True))
        return [self._kept[text] for text in texts]


@dataclass(frozen=True)
class Places:
    """Where the answer stands: the place from 1, or None. ``offered``: a small model could choose it."""

    question: Question
    passage: int | None
    sentence: int | None
    offered: bool
    best: Candidate | None

    @classmethod
    def of(cls, question: Question, index: Index, embed: Embedded) -> "Places":
        """As the ask workflow looks for it."""
        hits = index.search(question.text)
        found = [
            Found(text=h.text, source=h.source, page=h.page, heading=h.heading, score=h.score)
            for h in hits
        ]
        ranked = rank(question.text, found, embed)
        right = [
            question.is_answered_by(one["text"], found[one["passage"]]["source"]) for one in ranked
        ]
        return cls(
            question,
            _place([question.is_answered_by(hit.text, hit.source) for hit in hits]),
            _place(right),
            any(right[: len(shortlist(ranked))]),
            ranked[0] if ranked else None,
        )


def _place(marks: Sequence[bool]) -> int | None:
    return marks.index(True) + 1 if True in marks else None


def within(places: Sequence[int | None], k: int) -> int:
    """How many stand among the first ``k``."""
    return sum(place is not None and place <= k for place in places)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def answered(graph: Any, asked: Sequence[Question]) -> tuple[int, int, int]:
    """Rightly (the first quote is the sentence), wrongly, and not at all."""
    right = wrong = 0
    for question in asked:
        result = graph.invoke({"question": question.text})
        if result["answered"]:
            quote = result["citations"][0]
            good = question.is_answered_by(quote["quote"], quote["source"])
            right, wrong = right + good, wrong + (not good)
    return right, wrong, len(asked) - right - wrong


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    """Both halves, without and with noise."""
    embed = Embedded()
    with tempfile.TemporaryDirectory() as place:
        docs, noise = write_pages(Path(place) / "docs"), write_noise(Path(place) / "noise")
        for name, folders in (("pages", [docs]), ("with noise", [docs, noise])):
            index = Index.at(Path(place) / name, name, embeddings=embed.model)
            index.add(folders)
            graph = build_ask(index=index)
            for half in ("dev", "held"):
                asked = [q for q in questions() if q.half == half and q.answers]
                beside = [q for q in questions() if q.half == half and not q.answers]
                found = [Places.of(question, index, embed) for question in asked]
                hits = [within([one.passage for one in found], k) for k in (1, 5, 8)]
                best = [within([one.sentence for one in found], k) for k in (1, 5)]
                write(
                    f"{name}, {half}: {len(asked)} questions; passage among the first 1, 5, 8: "
                    f"{hits}; sentence among the first 1, 5: {best}; offered "
                    f"{sum(one.offered for one in found)}; answered rightly, wrongly, not: "
                    f"{answered(graph, asked)}; of {len(beside)} others refused "
                    f"{answered(graph, beside)[2]}\n"
                )
                if half == "dev" and name == "pages":
                    for one in found:
                        if one.sentence != 1 and one.best:
                            write(f"  {one.question.text} (passage {one.passage}, sentence ")
                            write(f"{one.sentence}): {one.best['text'][:90]}\n")


if __name__ == "__main__":
    main()
