"""Grammars force their text, say what is wrong with them, and are compiled once."""

from pathlib import Path

import numpy as np
import pytest

from nearfar.errors import GrammarError
from nearfar.llm.local.worker import guidance
from nearfar.llm.local.worker.guidance import Grammars


@pytest.fixture(scope="module")
def tokenizer_json(tiny_model: Path) -> str:
    return (tiny_model / "tokenizer.json").read_text(encoding="utf-8")


@pytest.fixture
def grammars(tokenizer_json: str) -> Grammars:
    return Grammars(tokenizer_json, 4096, 4096, {2})


def test_the_self_test_passes_on_a_good_tokenizer(grammars: Grammars) -> None:
    grammars.self_test()


def test_the_self_test_fails_where_the_text_comes_out_wrong(
    grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guidance, "_SELF_TEST", 'start: "other"')
    with pytest.raises(GrammarError, match="do not work with this tokenizer"):
        grammars.self_test()


@pytest.mark.parametrize("lark", ["start: (", "", "nonsense", 'start: "\ud800"'])
def test_what_is_no_grammar_is_refused(grammars: Grammars, lark: str) -> None:
    with pytest.raises(GrammarError):
        grammars.mask(lark)


def test_masks_of_one_grammar_do_not_disturb_each_other(grammars: Grammars) -> None:
    first = grammars.mask('start: "ab" | "cd"')
    before = first.allowed().copy()
    first.advance(int(np.flatnonzero(before)[0]))
    assert (grammars.mask('start: "ab" | "cd"').allowed() == before).all()


def test_a_token_that_the_grammar_forbids_is_an_error(grammars: Grammars) -> None:
    mask = grammars.mask('start: "ab"')
    forbidden = int(np.flatnonzero(mask.allowed() == 0)[0])
    with pytest.raises(GrammarError):
        mask.advance(forbidden)


def test_tokens_beyond_the_model_s_vocabulary_are_never_allowed(tokenizer_json: str) -> None:
    mask = Grammars(tokenizer_json, 4096, 100, {2}).mask("start: /.+/")
    assert mask.allowed().size == 100
