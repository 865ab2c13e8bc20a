"""What holds for every passage, whatever the document."""

import itertools
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nearfar.retrieval.graphemes import is_boundary
from nearfar.retrieval.readers import DocumentText
from nearfar.retrieval.readers.read import ReadLimits, read_bytes
from nearfar.retrieval.splitting import split, split_spans

_WORD = re.compile(r"\w{1,5}|[^\w\s]")


def offsets(text: str) -> list[tuple[int, int]]:
    """A tokenizer like WordPiece: pieces of words, and single signs."""
    return [found.span() for found in _WORD.finditer(text)]


def document(text: str, name: str = "a.md") -> DocumentText:
    return read_bytes(Path(name), text.encode(), ReadLimits())


WORDS = st.sampled_from(
    [
        *("cat", "dog.", "Sentence!", "It", "e.g.", "naïve", "e\u0301e\u0301", "日本語。", "🇩🇪🇫🇷"),
        *(
            "👩‍👩‍👧",
            "👍🏽",
            "x" * 90,
            "각",
            "\u1100\u1161\u11a8",
            "https://example.org/" + "a/" * 40,
        ),
        *("\n", "\n\n", "\n# Title\n", "\n## Sub\n", "\n```\n", "\n- item", "\n| a | b |\n", "  "),
        *("\u00a0", "\t", "f()", "{", "}", "\u0301", "z" + "\u0301" * 6, "\u2028"),
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=250).map(" ".join)
NAMES = st.sampled_from(["a.md", "a.txt", "a.py", "a.js", "a.csv", "a.rst"])


@settings(max_examples=200, deadline=None)
@given(TEXTS, NAMES, st.sampled_from([8, 20, 200]))
@example("# A\n\n" + "word " * 500, "a.md", 20)
@example("a" + " " * 3000 + "b", "a.txt", 20)
def test_passages_cover_the_text_within_their_limit(text: str, name: str, limit: int) -> None:
    """Each is exactly its span, in order, within the tokens, and nothing that is text is left out."""
    if not text.strip():
        return
    source = document(text, name)
    passages = split(source, offsets, chunk_tokens=limit, overlap_tokens=limit // 5)
    covered = [False] * len(source.text)
    last = -1
    for passage in passages:
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert passage.page_content == source.text[start:end]
        assert passage.page_content.strip()
        assert start > last
        assert len(offsets(passage.page_content)) <= limit + 16
        for cut in (start, end):  # a mark on a blank that was trimmed is no loss
            assert is_boundary(source.text, cut) or source.text[cut - 1].isspace()
        covered[start:end] = [True] * (end - start)
        last = start
    left = [c for c, done in zip(source.text, covered, strict=True) if not done and not c.isspace()]
    assert not left


def test_boundaries_are_those_of_unicode() -> None:
    """Compared with the clusters that the ``regex`` package finds, for texts of the kinds we cut."""
    regex = pytest.importorskip("regex")
    text = "ae\u0301👩‍👩‍👧🇩🇪🇫🇷👍🏽각\u1100\u1161\u11a8\r\nक्षि\u0308x\ufe0f☺️z"
    ends = {found.end() for found in regex.finditer(r"\X", text)} | {0}
    ours = {at for at in range(len(text) + 1) if is_boundary(text, at)}
    assert ours - ends == set()
    assert all(at in ours for at in ends if at in {0, len(text)} or text[at].isalpha())


def test_the_same_file_gives_the_same_ids_and_another_does_not() -> None:
    first = split(document("one. two. three."), offsets, source="x")
    assert [d.id for d in first] == [
        d.id for d in split(document("one. two. three."), offsets, source="x")
    ]
    assert first[0].id != split(document("one. two. three."), offsets, source="y")[0].id
    assert first[0].id != split(document("one. two. four."), offsets, source="x")[0].id


def test_a_passage_stays_under_its_headings() -> None:
    text = "# Guide\n\n## Install\n\nRun pip.\n\n## Use\n\nCall it.\n\n### Fast\n\nCall it twice.\n"
    passages = split(document(text), offsets)
    assert [(d.metadata["heading"], d.page_content) for d in passages] == [
        ("Guide > Install", "# Guide\n\n## Install\n\nRun pip."),
        ("Guide > Use", "## Use\n\nCall it."),
        ("Guide > Use > Fast", "### Fast\n\nCall it twice."),
    ]


def test_a_code_block_that_fits_is_not_cut() -> None:
    code = "```python\n" + "\n".join(f"a{n} = {n}" for n in range(20)) + "\n```"
    text = "Before it. " * 12 + "\n\n" + code + "\n\nAfter it."
    passages = split(document(text), offsets, chunk_tokens=90, overlap_tokens=10)
    assert any(code in d.page_content for d in passages)


def test_a_paragraph_that_goes_on_repeats_whole_sentences() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(60))
    passages = split(document(text), offsets, chunk_tokens=60, overlap_tokens=20)
    assert len(passages) > 3
    for before, after in itertools.pairwise(passages):
        shared = before.metadata["end"] - after.metadata["start"]
        assert shared > 0
        assert after.page_content.startswith("This is sentence number")


def test_an_abbreviation_does_not_end_a_sentence() -> None:
    text = "See e.g. the list of Dr. Smith for more. " * 30
    passages = split(document(text), offsets, chunk_tokens=40, overlap_tokens=0)
    assert all(d.page_content.startswith("See e.g.") for d in passages)


def test_a_line_without_spaces_is_cut_by_tokens() -> None:
    passages = split(document("x" * 20_000, "a.txt"), offsets, chunk_tokens=100, overlap_tokens=0)
    assert len(passages) >= 30
    assert max(len(d.page_content) for d in passages) <= 1_700


def test_a_megabyte_is_split_in_seconds() -> None:
    """And twice the text takes no more than about twice the time."""
    text = "\n\n".join(f"Paragraph {n}. It says something. And more of it." for n in range(10_000))
    took = []
    for factor in (1, 2):
        source = document((text + "\n\n") * factor, "a.txt")
        started = time.process_time()
        count = sum(1 for _ in split_spans(source, offsets))
        took.append(time.process_time() - started)
        assert count > 500 * factor
    assert took[1] < max(4 * took[0], 1.0)
    assert took[1] < 12


@pytest.mark.parametrize(("chunk", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_sizes_that_make_no_sense_are_refused(chunk: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="chunk_tokens"):
        list(split_spans(document("x"), offsets, chunk_tokens=chunk, overlap_tokens=overlap))
