"""Text as detectors read it: what only looks different is made the same.

Full-width and other digits become ASCII ones, letters lose their accents and their styles, dashes and
spaces of all kinds become plain ones, and what has no width is left out. Each character is looked at
alone, so that the time grows with the length of the text and with nothing else.
"""

import re
import unicodedata

_SPACED = re.compile(r"(?<!\S)(?:\S ){7,}\S(?!\S)")
"""Eight or more single characters with a space between them."""
_GONE = frozenset({"Cf", "Mn", "Me"})
_LIKE_A_DOT = dict.fromkeys(map(ord, "\u3002\u2024\u00b7\u2219"), ".")


class _Table(dict[int, str]):
    """For ``str.translate``: filled as characters come by."""

    def __missing__(self, point: int) -> str:
        found = _folded(chr(point))
        self[point] = found
        return found


def folded(text: str) -> str:
    """``text`` in plain characters; ASCII is given back as it is."""
    return text if text.isascii() else text.translate(_TABLE)


def unspaced(text: str) -> str:
    """What is spelled with a space after each character, without the spaces, on lines of its own."""
    return "\n".join(found.group().replace(" ", "") for found in _SPACED.finditer(text))


def _folded(character: str) -> str:
    category = unicodedata.category(character)
    if category in _GONE:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    if category == "Pd" or character == "\u2212":
        return "-"
    plain = unicodedata.normalize("NFKD", character)
    return "".join(c for c in plain if unicodedata.category(c) not in _GONE)


_TABLE = _Table(_LIKE_A_DOT)
