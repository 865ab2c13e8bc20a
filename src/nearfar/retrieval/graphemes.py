"""Where a text may be cut without tearing what a reader sees as one character."""

import unicodedata

_JOINER = "\u200d"
_VIRAMA = 9  # the combining class of the signs that join two consonants into one


def is_boundary(text: str, at: int) -> bool:
    """Whether ``text[:at]`` and ``text[at:]`` share no character as printed.

    The rules of Unicode's extended grapheme clusters that matter for cutting: combining marks,
    variation selectors, joined emoji, skin tones, flags, Hangul syllables in parts, and CR LF.
    """
    if at <= 0 or at >= len(text):
        return True
    after, before = text[at], text[at - 1]
    if after < "\u0300":
        return not (after == "\n" and before == "\r")
    if _extends(after) or before == _JOINER or unicodedata.combining(before) == _VIRAMA:
        return False
    if _is_regional(after) and _is_regional(before):
        return _run_of_regional(text, at) % 2 == 0
    return not ("\u1100" <= before <= "\u11ff" and "\u1100" <= after <= "\u11ff") and not (
        "\uac00" <= before <= "\ud7a3" and "\u1160" <= after <= "\u11ff"
    )


def previous_boundary(text: str, at: int, floor: int) -> int:
    """The last boundary at or before ``at`` that is over ``floor``; else the first after ``at``."""
    at = min(max(at, floor + 1), len(text))
    back = at
    while back > floor and not is_boundary(text, back):
        back -= 1
    if back > floor:
        return back
    while at < len(text) and not is_boundary(text, at):
        at += 1
    return at


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char)[0] == "M"
        or char in {_JOINER, "\u200c"}
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
        or char in {"\uff9e", "\uff9f"}
    )


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _run_of_regional(text: str, at: int) -> int:
    """How many letters of flags stand directly before ``at``."""
    start = at
    while start > 0 and _is_regional(text[start - 1]):
        start -= 1
    return at - start
