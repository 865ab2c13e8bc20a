"""Sampling parameters and other call arguments: which there are, and what they may be."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nearfar.errors import InvalidParameterError

Number = int | float


@dataclass(frozen=True)
class Range:
    """The values that a parameter may have."""

    kind: type[int] | type[float]
    low: float
    high: float = float("inf")
    open_low: bool = False  # the low end itself is out
    optional: bool = False  # None is a value

    def __str__(self) -> str:
        noun = "a whole number" if self.kind is int else "a number"
        low = f"above {self.low:g}" if self.open_low else f"of at least {self.low:g}"
        high = "" if self.high == float("inf") else f" and at most {self.high:g}"
        return f"{noun} {low}{high}" + (", or None" if self.optional else "")

    def accepts(self, value: Any) -> bool:
        """Whether the value lies within."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.kind is int and not isinstance(value, int):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high


RANGES: Mapping[str, Range] = {
    "max_tokens": Range(int, 1),
    "temperature": Range(float, 0, 100),
    "top_p": Range(float, 0, 1, open_low=True),
    "top_k": Range(int, 0),
    "repetition_penalty": Range(float, 0, 100, open_low=True),
    "seed": Range(int, 0, 2**63 - 1, optional=True),
}
# What else a call may be given. `stream` is read by LangChain, the rest in chat_model.py.
CALL_ARGUMENTS = frozenset(
    {"grammar", "model", "parallel_tool_calls", "response_format", "stream", "tool_choice", "tools"}
)


def check(name: str, value: Any) -> Any:
    """The value, if it lies within its range; InvalidParameterError names the range."""
    if RANGES[name].accepts(value):
        return value
    shown = value if isinstance(value, int | float) else type(value).__name__
    raise InvalidParameterError(
        f"{name} must be {RANGES[name]}, not {shown}.", data={"parameter": name, "value": shown}
    )


def check_stop(stop: Any) -> tuple[str, ...]:
    """Stop strings as a tuple; one alone may be a string."""
    given = [] if stop is None else [stop] if isinstance(stop, str) else stop
    texts = tuple(given) if isinstance(given, list | tuple) else (None,)
    if all(isinstance(text, str) and text for text in texts):
        return texts
    raise InvalidParameterError(
        "stop must be a list of texts that are not empty.",
        data={"parameter": "stop", "value": type(stop).__name__},
    )


def check_names(given: Mapping[str, Any]) -> None:
    """Refuse arguments that nothing reads, with the nearest name that there is."""
    known = CALL_ARGUMENTS | RANGES.keys()
    for name in given:
        if name not in known:
            raise unknown(name, known)


def unknown(name: str, known: Any) -> InvalidParameterError:
    """An argument that there is not."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return InvalidParameterError(
        f"There is no parameter {name!r}.{hint}",
        remedy=f"The parameters are: {', '.join(sorted(known))}.",
        data={"parameter": name, "nearest": nearest[0] if nearest else None},
    )
