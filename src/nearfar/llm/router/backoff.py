"""How long a candidate that failed is left alone within one request."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenacity.wait import wait_base

FIRST_S = 0.25
LONGEST_S = 8.0


@cache
def _waits() -> "wait_base":
    from tenacity import wait_random_exponential  # loaded by the first failure, not by the import

    return wait_random_exponential(multiplier=FIRST_S, max=LONGEST_S)


def backoff_s(tries: int) -> float:
    """Seconds after that many tries: by chance between none and a span that doubles (full jitter)."""
    from tenacity import RetryCallState

    nothing: Any = None
    state = RetryCallState(nothing, None, (), {})
    state.attempt_number = tries
    return _waits()(state)
