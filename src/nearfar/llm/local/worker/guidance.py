"""Grammars: which tokens may come next, by the ``llguidance`` package."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from nearfar.errors import GrammarError

_KEPT_GRAMMARS = 32
_SELF_TEST = 'start: "[" ("yes" | "no") "]"'


class GrammarMask:
    """The state of one reply's grammar."""

    def __init__(self, matcher: Any, tokenizer_size: int, vocab_size: int) -> None:
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        self._matcher = matcher
        self._words = allocate_token_bitmask(1, tokenizer_size)
        self._fill = fill_next_token_bitmask
        self._vocab_size = vocab_size

    def allowed(self) -> npt.NDArray[np.uint8]:
        """A 1 for each token that may come next; GrammarError if none may."""
        self._fill(self._matcher, self._words)
        bits = np.unpackbits(self._words[0].view(np.uint8), bitorder="little")[: self._vocab_size]
        if self._matcher.is_error() or not bits.any():
            reason = self._matcher.get_error() or self._matcher.stop_reason()
            raise GrammarError(f"The grammar allows no further token: {_first_line(reason)}")
        return bits

    def advance(self, token: int) -> bool:
        """Take the token; True when the grammar is complete and only an end could follow."""
        if not self._matcher.consume_token(token):
            raise GrammarError(f"The grammar failed: {_first_line(self._matcher.get_error())}")
        return bool(self._matcher.is_stopped())


class Grammars:
    """Makes masks for one tokenizer; compiled grammars are kept and copied."""

    def __init__(
        self, tokenizer_json: str, tokenizer_size: int, vocab_size: int, end_ids: Collection[int]
    ) -> None:
        from llguidance import LLTokenizer

        self._tokenizer_size = tokenizer_size
        self._vocab_size = vocab_size  # of the model: it can be smaller
        ends = sorted(token for token in end_ids if token < tokenizer_size)
        self._tokenizer = LLTokenizer(
            tokenizer_json, n_vocab=tokenizer_size, eos_token=ends or None
        )
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def mask(self, lark: str) -> GrammarMask:
        """A fresh mask; GrammarError with the place if the text is no grammar."""
        matcher = self._compiled.get(lark)
        if matcher is None:
            matcher = self._compile(lark)
            self._compiled[lark] = matcher
            if len(self._compiled) > _KEPT_GRAMMARS:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(lark)
        return GrammarMask(matcher.deep_copy(), self._tokenizer_size, self._vocab_size)

    def _compile(self, lark: str) -> Any:
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_lark(lark)
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        except (TypeError, ValueError, UnicodeError) as error:
            raise GrammarError(f"Not a grammar: {_first_line(str(error))}") from error
        if matcher.is_error():
            raise GrammarError(f"Not a grammar: {_first_line(matcher.get_error())}")
        return matcher

    def self_test(self) -> None:
        """Force a small text with this tokenizer; GrammarError if that gives anything else."""
        mask = self.mask(_SELF_TEST)
        ids: list[int] = []
        for _ in range(16):
            token = int(np.flatnonzero(mask.allowed())[-1])
            ids.append(token)
            if mask.advance(token):
                break
        text = self._tokenizer.decode_str(ids)
        if text not in ("[yes]", "[no]"):
            raise GrammarError(
                f"Grammars do not work with this tokenizer: {text!r} came instead of [yes] or [no]."
            )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:500]
