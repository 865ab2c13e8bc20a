"""The sentence that answers a question about our documentation is found, also among other pages."""

from collections import Counter
from pathlib import Path

import pytest

from nearfar.graphs.sentences import sentences
from nearfar.retrieval import Index

from . import docs_questions as docs

ASKED = [question for question in docs.questions() if question.answers]


@pytest.fixture(scope="module")
def embed() -> docs.Embedded:
    return docs.Embedded()


@pytest.fixture(scope="module")
def index(embed: docs.Embedded, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("docs_questions")
    made = Index.at(folder / "index", "docs", embeddings=embed.model)
    made.add([docs.write_pages(folder / "pages")])
    return made


def test_every_answer_is_a_sentence_of_its_page() -> None:
    texts = docs.pages()
    for question in ASKED:
        for page, piece in question.answers:
            held = [one.text for one in sentences(texts[page])]
            assert any(piece in one for one in held), (question.text, piece)


def test_each_is_asked_once_and_both_halves_are_alike() -> None:
    asked = docs.questions()
    assert len({question.text.lower() for question in asked}) == len(asked)
    assert Counter((question.half, bool(question.answers)) for question in asked) == {
        ("dev", True): 41,
        ("held", True): 41,
        ("dev", False): 8,
        ("held", False): 8,
    }


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_sentence_is_found_and_pages_that_answer_nothing_hardly_disturb(
    index: Index, embed: docs.Embedded, tmp_path: Path
) -> None:
    def figures() -> dict[str, int]:
        found = [docs.Places.of(question, index, embed) for question in ASKED]
        passages, best = [one.passage for one in found], [one.sentence for one in found]
        return {
            "passage among 5": docs.within(passages, 5),
            "passage among 8": docs.within(passages, 8),
            "sentence first": docs.within(best, 1),
            "sentence among 5": docs.within(best, 5),
        }

    alone = figures()
    index.add([docs.write_noise(tmp_path / "noise")])
    beside = figures()
    least = {
        "passage among 5": 71,
        "passage among 8": 74,
        "sentence first": 54,
        "sentence among 5": 67,
    }
    assert {name: n for name, n in alone.items() if n < least[name]} == {}
    assert {name: (alone[name], n) for name, n in beside.items() if n < alone[name] - 3} == {}
