"""A model that knows nothing: random logits under a grammar's mask, with a real tokenizer."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

import nearfar.llm

ASSET = Path(nearfar.llm.__file__).parent / "assets" / "nearfar-tiny"
END = 2
OPEN, CLOSE = 3, 4  # <tool_call>, </tool_call>
SPECIAL_IDS = {"<|im_end|>": END, "<tool_call>": OPEN, "</tool_call>": CLOSE}


@cache
def tokenizer() -> LLTokenizer:
    return LLTokenizer((ASSET / "tokenizer.json").read_text(encoding="utf-8"), eos_token=END)


def accepts(grammar: str, text: str) -> bool:
    """Whether the grammar takes exactly this text; delimiters in it are their tokens."""
    matcher = _matcher(grammar)
    ids = tokenizer().tokenize_str(text, parse_special=True)
    return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())


def sample(grammar: str, seed: int, *, most: int = 8000) -> str:
    """One output by logits that are pure noise; fails if it does not end within ``most`` tokens."""
    matcher = _matcher(grammar)
    rng = np.random.default_rng(seed)
    size = tokenizer().vocab_size
    mask = np.zeros((size + 31) // 32, np.int32)
    ids: list[int] = []
    while len(ids) < most:
        matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size])
        token = int(rng.choice(allowed))
        if token == END:
            assert matcher.is_accepting()
            return _decoded(ids)
        ids.append(token)
        assert matcher.consume_token(token), matcher.get_error()
    raise AssertionError(f"no end within {most} tokens")


def _decoded(ids: list[int]) -> str:
    return tokenizer().decode_bytes(ids).decode("utf-8")  # strict: broken UTF-8 fails


def _matcher(grammar: str) -> Any:
    matcher = LLMatcher(tokenizer(), grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher
