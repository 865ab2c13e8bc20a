"""What the body of a tool returns."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """What a body returns. Text from outside names its ``source``, and is marked as data."""

    text: str
    source: str | None = None
    data: Any = None  # for programs: goes into the message's artifact, not to the model
