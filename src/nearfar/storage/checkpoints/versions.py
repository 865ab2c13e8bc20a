"""Versions of channels: a count, and a random part that tells branches apart."""

import random
from collections.abc import Callable

_WIDTH = 8  # digits; LangGraph's own have 32, and a checkpoint repeats them for each node


def next_version(
    current: str | None, theirs: Callable[[str | None, None], str], channel: None
) -> str:
    """The next one, larger as a text; a thread that began with LangGraph's own width keeps it."""
    if current is None:
        count = 1
    else:
        head = str(current).partition(".")[0]
        if len(head) > _WIDTH:
            return theirs(current, channel)
        count = int(head) + 1
    if count >= 10**_WIDTH:
        raise OverflowError(count)
    return f"{count:0{_WIDTH}}.{random.getrandbits(32):08x}"
