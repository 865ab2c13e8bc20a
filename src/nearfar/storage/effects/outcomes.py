"""What is known, or found out, about an effect whose outcome was lost."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """It was done; ``value`` is what the function would have returned."""

    value: Any = None


@dataclass(frozen=True)
class NotDone:
    """It was surely not done, so it may be tried again."""


NOT_DONE = NotDone()
