"""From logits to a token: repetition penalty, grammar, temperature, top_k, top_p, in that order.

Written over numpy so that one generator can serve requests that differ in all of these; order and
formulas are those of Hugging Face transformers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from nearfar.llm.local.protocol import GenerationRequest

Logits = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]
_HEAD = 1024  # top_p looks here first: sorting a whole vocabulary costs milliseconds


class NotFiniteError(ValueError):
    """The model computed something that is not a number."""


class Sampler:
    """Chooses the tokens of one request. Equal seeds and logits give equal tokens."""

    def __init__(self, request: GenerationRequest, vocab_size: int) -> None:
        self._temperature = request.temperature
        self._top_k = request.top_k
        self._top_p = request.top_p
        self._penalty = request.repetition_penalty
        self._seen: npt.NDArray[np.bool_] | None = None
        if self._penalty != 1.0:
            self._seen = np.zeros(vocab_size, dtype=np.bool_)
            self._seen[list(request.prompt_ids)] = True
        self._rng: np.random.Generator | None = None
        if self._temperature > 0:
            seed = None if request.seed is None else request.seed & (2**64 - 1)
            self._rng = np.random.default_rng(seed)

    def choose(self, logits: Logits, allowed: Bits | None) -> int:
        """The next token of a vector of ``vocab_size`` logits; ``allowed`` holds a 1 per token."""
        if self._seen is not None:
            logits = np.where(
                self._seen,
                np.where(logits > 0, logits / self._penalty, logits * self._penalty),
                logits,
            )
        if allowed is None:
            token = self._pick(logits)
        else:
            places = np.flatnonzero(allowed[: logits.size])
            token = int(places[self._pick(logits[places])])
        if self._seen is not None:
            self._seen[token] = True
        return token

    def _pick(self, logits: Logits) -> int:
        best = int(logits.argmax())
        if not np.isfinite(logits[best]):
            raise NotFiniteError("The model's output is not a number.")
        if self._rng is None or logits.size == 1:
            return best
        return self._draw(logits, self._rng)

    def _draw(self, logits: Logits, rng: np.random.Generator) -> int:
        places: npt.NDArray[np.intp] | None = None
        if 0 < self._top_k < logits.size:
            places = np.argpartition(logits, -self._top_k)[-self._top_k :]
            logits = logits[places]
        weights = np.exp((logits - logits.max()).astype(np.float64) / self._temperature)
        if self._top_p < 1:
            kept = _nucleus(weights, self._top_p)
            weights = weights[kept]
            places = kept if places is None else places[kept]
        sums = np.cumsum(weights)
        # random() < 1, so the product is below the last sum but for rounding: hence the minimum.
        at = min(int(np.searchsorted(sums, rng.random() * sums[-1], side="right")), sums.size - 1)
        return at if places is None else int(places[at])


def _nucleus(weights: npt.NDArray[np.float64], top_p: float) -> npt.NDArray[np.intp]:
    """The fewest places, likeliest first, whose share of the whole reaches ``top_p``."""
    goal = top_p * float(weights.sum())
    if weights.size > _HEAD:
        head = np.argpartition(weights, -_HEAD)[-_HEAD:]
        if float(weights[head].sum()) >= goal:
            return head[_reaching(weights[head], goal)]
    return _reaching(weights, goal)


def _reaching(weights: npt.NDArray[np.float64], goal: float) -> npt.NDArray[np.intp]:
    order: npt.NDArray[np.intp] = np.argsort(-weights, kind="stable")
    count = int(np.searchsorted(np.cumsum(weights[order]), goal, side="left")) + 1
    return order[:count]


def last_logits(raw: Any, vocab_size: int) -> Logits:
    """The logits after the last token, of the ``vocab_size`` tokens that the tokenizer knows.

    A model's output can be padded beyond them, and can be of 16 bits.
    """
    flat = np.asarray(raw)
    row = flat.reshape(-1, flat.shape[-1])[-1]
    return np.asarray(row[:vocab_size], dtype=np.float32)
