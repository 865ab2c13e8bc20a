"""Content never becomes a control token, and nothing else about its ids changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfar.errors import ModelLoadError
from nearfar.llm.local.tokenizer import TextTokenizer

from .tokenizers_at_hand import STARTER, byte_level, metaspace, unigram

KINDS: dict[str, Callable[[Path], Path]] = {
    "starter": lambda _: STARTER,
    "byte_level": byte_level,
    "metaspace": metaspace,
    "unigram": unigram,
}


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TextTokenizer:
    return TextTokenizer(KINDS[request.param](tmp_path_factory.mktemp(request.param)))


def fragments(tokenizer: TextTokenizer) -> st.SearchStrategy[str]:
    """Text of control tokens, of parts of them, of look-alikes, and of anything else."""
    controls = sorted(tokenizer.decode([i]) for i in tokenizer.control_ids)[:24]
    whole = st.sampled_from([c for c in controls if c])
    part = st.tuples(whole, st.integers(0, 12), st.integers(0, 12)).map(lambda t: t[0][t[1] : t[2]])
    wide = whole.map(lambda s: s.replace("<", "\uff1c").replace(">", "\uff1e"))
    piece = st.one_of(
        whole, part, wide, st.text(max_size=4), st.sampled_from([" ", "\n", "<", "|"])
    )
    return st.lists(piece, max_size=6).map("".join)


def control_count(tokenizer: TextTokenizer, ids: list[int]) -> int:
    return sum(i in tokenizer.control_ids for i in ids)


def framing(tokenizer: TextTokenizer) -> tuple[str, str]:
    """Two control tokens that a template could put around content."""
    names = [name for name, id_ in tokenizer.special_ids.items() if id_ in tokenizer.control_ids]
    wanted = [n for n in names if n in ("<|im_start|>", "<|user|>", "<s>")]
    ends = [n for n in names if n in ("<|im_end|>", "<|end|>", "</s>")]
    return wanted[0], ends[-1]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_content_never_becomes_a_control_token(
    tokenizer: TextTokenizer, data: st.DataObject
) -> None:
    """However contents stand together, exactly the template's control tokens come out."""
    contents = data.draw(st.lists(fragments(tokenizer), min_size=1, max_size=4))
    begin, end = framing(tokenizer)
    shield = tokenizer.shield([*contents, begin, end])
    inner = "".join(shield.protect(content) for content in contents)
    ids = tokenizer.encode_rendered(f"{begin}user\n{inner}{end}\n{begin}", shield.mark)
    controls = [i for i in ids if i in tokenizer.control_ids]
    expected = [tokenizer.special_ids[t] for t in (begin, end, begin)]
    assert controls == expected


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_content_without_control_tokens_has_the_ids_of_plain_encoding(
    tokenizer: TextTokenizer, data: st.DataObject
) -> None:
    """Also where the content ends like the beginning of a control token."""
    content = data.draw(fragments(tokenizer))
    begin, end = framing(tokenizer)
    text = f"{begin}user\n{content}{end}\n{begin}"
    plain = tokenizer.encode(text)
    if control_count(tokenizer, plain) != 3:
        return  # the content holds a control token: no plain encoding to compare with
    shield = tokenizer.shield([text])
    rendered = f"{begin}user\n{shield.protect(content)}{end}\n{begin}"
    assert tokenizer.encode_rendered(rendered, shield.mark) == plain


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_plain_text_is_never_encoded_to_control_tokens(
    tokenizer: TextTokenizer, data: st.DataObject
) -> None:
    ids = tokenizer.encode(data.draw(fragments(tokenizer)), special=False)
    assert control_count(tokenizer, ids) == 0


def test_a_pasted_control_token_is_decoded_to_itself(tmp_path: Path) -> None:
    for folder in (STARTER, byte_level(tmp_path)):
        tokenizer = TextTokenizer(folder)
        for text in ("say <|im_end|> now", "<tool_call>{}</tool_call>", "a\0b<|im_end|>"):
            assert tokenizer.decode(tokenizer.encode(text, special=False)) == text


def test_added_words_stay_what_they_are(tmp_path: Path) -> None:
    """A word that a vocabulary was extended by is text, and keeps its id beside pasted tokens."""
    tokenizer = TextTokenizer(byte_level(tmp_path))
    word = tokenizer.special_ids["word"]
    assert word not in tokenizer.control_ids
    assert word in tokenizer.encode("a word", special=False)
    assert word in tokenizer.encode("a word <|im_end|>", special=False)


def test_nul_and_what_follows_it_are_encoded() -> None:
    tokenizer = TextTokenizer(STARTER)
    assert tokenizer.decode(tokenizer.encode("before\0after")) == "before\0after"


def test_surrogates_are_joined_or_replaced() -> None:
    tokenizer = TextTokenizer(STARTER)
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00 \ud800")) == "\U0001f600 \ufffd"


def test_count_is_the_number_of_ids() -> None:
    tokenizer = TextTokenizer(STARTER)
    assert tokenizer.count("") == 0
    assert tokenizer.count("two words") == len(tokenizer.encode("two words"))


@pytest.mark.parametrize("content", [None, "", "{", '{"model": 1}'])
def test_a_broken_tokenizer_is_a_load_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelLoadError) as caught:
        TextTokenizer(tmp_path)
    assert caught.value.data["folder"] == str(tmp_path)
