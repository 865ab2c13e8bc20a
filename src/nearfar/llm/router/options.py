"""A router's limits."""

from dataclasses import dataclass, field
from typing import Literal

from .breaker import BreakerOptions


@dataclass(frozen=True)
class RouterOptions:
    """Times in seconds; ``retries`` counts extra attempts on the same candidate in one request.

    ``midstream`` says what happens to a fault after tokens went out: "continue" the answer with
    whoever can, "hold" everything back until the answer is whole, or end with the "error".
    ``compact``: a conversation is made shorter for a candidate that it does not fit.
    ``coalesce``: identical requests that are under way at the same time are sent once.
    """

    deadline_s: float = 60.0
    first_token_s: float = 15.0
    stall_s: float = 15.0
    retries: int = 1
    midstream: Literal["continue", "hold", "error"] = "continue"
    compact: bool = False
    coalesce: bool = False
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
