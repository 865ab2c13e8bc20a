"""What is gathered from packages, and that it widens the training data and nothing else."""

import gzip
import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Programs

PAGE = """\
Title
=====

Remove a :class:`Widget` from the **shelf** before the shelf is taken away. The shelf must be empty when it
is sold.

* A `wooden shelf <http://shelf.example>`_ can be repaired in the workshop.

    An indented block of code is no sentence of the page.

===== =====
"""
MODULE = '''\
"""Delete an object from the rack before the rack goes.

Numbers are 12.
"""


class Rack:
    """The rack has to be vacant at the time of sale."""
'''


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A folder with one source archive, and the list that names it."""
    file = tmp_path / "shelves-1.0.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for name, text in {
            "docs/page.rst": PAGE,
            "src/rack.py": MODULE,
            "tests/test_rack.py": '"""Sentences of tests are of no use to anybody."""\n',
            "LICENSE.txt": "Permission is granted to anybody who reads this sentence.\n",
        }.items():
            entry = tarfile.TarInfo(f"shelves-1.0/{name}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "names.txt").write_text(f"# archives\n{file.name} {digest} MIT\n", encoding="utf-8")
    return tmp_path


def test_sentences_come_from_pages_and_docstrings_without_their_marks(
    programs: Programs, archives: Path
) -> None:
    found = programs("gather_texts").gather(archives, set(), archives / "names.txt")
    assert found == [
        (
            "Remove a Widget from the shelf before the shelf is taken away.",
            "The shelf must be empty when it is sold.",
        ),
        ("A wooden shelf can be repaired in the workshop.",),
        ("Delete an object from the rack before the rack goes.",),
        ("The rack has to be vacant at the time of sale.",),
    ]


def test_what_is_held_back_is_left_out(programs: Programs, archives: Path) -> None:
    held = {
        "The shelf must be empty when it is sold.",
        "A wooden shelf can be repaired in the workshop.",
    }
    found = programs("gather_texts").gather(archives, held, archives / "names.txt")
    assert not held & {sentence for paragraph in found for sentence in paragraph}
    assert len(found) == 3


def test_an_archive_that_was_changed_is_refused(programs: Programs, archives: Path) -> None:
    with (archives / "shelves-1.0.tar.gz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(SystemExit, match="another sha256"):
        programs("gather_texts").gather(archives, set(), archives / "names.txt")


def test_sentences_of_one_meaning_in_other_words_are_paired(programs: Programs) -> None:
    sentences = [
        "Delete the file from the disk.",
        "Remove a document from storage.",
        "The weather in Norway was cold all winter.",
        "Delete the file from a folder.",
    ]
    pairs = programs("mine_meanings").similar_sentences(sentences, [0, 1, 2, 3], jobs=1)
    assert {(0, 1), (1, 0)} <= set(pairs)
    assert not {(0, 3), (3, 0)} & set(pairs), "they share their words"
    assert not [pair for pair in pairs if 2 in pair]


@pytest.fixture
def gathered(programs: Programs, tmp_path: Path) -> Iterator[Any]:
    """The generator with a few texts in use; without them again afterwards."""
    paragraphs = [
        [f"The {noun} can {verb} a {noun} before the {other} is ready.", f"Use this {other} to {verb} it."]
        for noun, verb, other in itertools.product(
            ["gadget", "sprocket", "lattice", "kernel", "escalator"], ["tweak", "polish", "unwind"], ["spline", "rivet"]
        )
    ]  # fmt: skip
    texts, meanings = tmp_path / "texts.gz", tmp_path / "meanings.gz"
    texts.write_bytes(gzip.compress(json.dumps(paragraphs).encode()))
    held = {
        "words": {"gadget": ["device", "escalator"], "polish": ["shine"]},
        "pairs": [[0, 3], [2, 5]],
    }
    meanings.write_bytes(gzip.compress(json.dumps(held).encode()))
    module = programs("data.gathered")
    module.use(texts, meanings)
    yield module.held()
    module.use(None, None)


def test_training_draws_other_words_than_the_pools_have_and_none_that_is_held_back(
    programs: Programs, gathered: Any
) -> None:
    assert gathered
    draw, vocabulary = programs("data.draw").Draw("words", "train"), programs("data.vocabulary")
    drawn = {word for _ in range(400) for word in draw.value(vocabulary.NOUNS)}
    known = {word for entry in vocabulary.NOUNS.train for word in entry}
    assert {"gadget", "sprocket", "device"} <= drawn
    assert len(drawn - known) > 50, "words that are made up of pieces"
    assert "escalator" in {word for entry in vocabulary.NOUNS.eval for word in entry}
    assert "escalator" not in drawn


def test_altered_wordings_keep_their_placeholders(programs: Programs, gathered: Any) -> None:
    assert gathered
    draw, pool = programs("data.draw").Draw("forms", "train"), programs("data.draw").Pool
    forms = pool(
        [f"{verb} the {{l}} of the gadget to {{v}} unless it is off" for verb in ("set", "put")],
        loose=True,
    )
    made = [draw.phrase(forms) for _ in range(300)]
    assert len(set(made)) > 20
    assert all(form.count("{l}") == form.count("{v}") == 1 for form in made)
    assert all(" unless " in form and form.endswith(" off") for form in made)


def test_the_evaluation_is_the_same_with_and_without_gathered_texts(
    programs: Programs, gathered: Any
) -> None:
    examples, module = programs("data.mixture").examples, programs("data.gathered")

    def first() -> list[Any]:
        made = itertools.islice(examples("side", "eval"), 120)
        return [(item.messages, item.reply, item.tools) for item in made]

    with_texts = first()
    module._in_use.clear()
    assert first() == with_texts
    module._in_use.append(gathered)


def test_questions_in_other_words_are_answered_by_a_sentence_that_is_there(
    programs: Programs, gathered: Any
) -> None:
    draw, meant = programs("data.draw").Draw("meant", "train"), programs("data.meant_items")
    replies = set()
    for number in range(200):
        item = meant.meant_passages(draw, single=number % 2 == 0)
        body = item.messages[-1]["content"].partition("\n\nQuestion: ")[0].split("\n")
        if item.reply == "The documents do not say.":
            continue
        sentence, _, place = item.reply.rpartition(" [")
        replies.add(sentence)
        assert sentence in body[int(place[:-1]) - 1]
    assert replies <= {sentence for _, sentence in gathered.sentences}
    assert len(replies) > 10
