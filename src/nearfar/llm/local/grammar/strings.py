"""Strings: lengths, patterns and formats as terminals over JSON text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .lark import LarkWriter, literal, regex
from .limits import Limits
from .patterns import PatternError, parse, to_regex
from .schema import Node, refuse

# One character as JSON text holds it. No surrogates by escape (a lone one cannot be encoded) and
# no control characters beyond those with a short escape (tools do not expect a NUL in a path).
_RAW: Final = r'[^"\\\x00-\x1f\x7f]'
_ESCAPE: Final = (
    r'\\(?:["\\\/bfnrt]|u(?:00[2-9a-fA-F][0-9a-fA-F]|0[1-9a-fA-F][0-9a-fA-F]{2}'
    r"|[1-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))"
)
_CHAR: Final = f"(?:{_RAW}|{_ESCAPE})"

_YEAR: Final = "[12][0-9]{3}"
_LEAP: Final = "[12][0-9](?:0[48]|[2468][048]|[13579][26])|(?:1[26]|2[048])00"
_DATE: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|(?:{_LEAP})-02-29)"
)
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_CLOCK})"
_SPAN: Final = (
    "(?:[0-9]{1,3}H(?:[0-9]{1,3}M(?:[0-9]{1,3}S)?)?|[0-9]{1,3}M(?:[0-9]{1,3}S)?|[0-9]{1,3}S)"
)
_DAYS: Final = (
    "(?:[0-9]{1,3}Y(?:[0-9]{1,2}M(?:[0-9]{1,3}D)?)?|[0-9]{1,2}M(?:[0-9]{1,3}D)?|[0-9]{1,3}D)"
)
_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}\.[a-zA-Z]{{2,12}}"
_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_HEX4: Final = "[0-9a-fA-F]{1,4}"
_IPV6: Final = (
    f"(?:{_HEX4}(?::{_HEX4}){{7}}|{_HEX4}(?::{_HEX4}){{0,3}}::{_HEX4}(?::{_HEX4}){{0,2}}"
    f"|::{_HEX4}(?::{_HEX4}){{0,5}})"
)
_HEX: Final = "[0-9a-fA-F]"
_PATH: Final = r"(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"
_URI: Final = (
    rf"(?:https?|ftp|wss?):\/\/{_HOST}(?::[1-9][0-9]{{1,3}})?(?:\/{_PATH}{{0,64}}){{0,8}}"
    rf"(?:\?(?:{_PATH}|[\/?]){{0,128}})?(?:#(?:{_PATH}|[\/?]){{0,64}})?"
)


def _uuid(version: str = _HEX, variant: str = _HEX) -> str:
    return f"{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-{variant}{_HEX}{{3}}-{_HEX}{{12}}"


FORMATS: Final = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:{_DAYS}(?:T{_SPAN})?|T{_SPAN}|[0-9]{{1,3}}W)",
    "email": rf"[a-zA-Z0-9_]{{1,32}}(?:[.+-][a-zA-Z0-9_]{{1,16}}){{0,2}}@{_HOST}",
    "hostname": _HOST,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uri": _URI,
    "uuid": _uuid(),
    **{f"uuid{n}": _uuid(str(n), "[89abAB]") for n in (1, 3, 4, 5, 6, 7, 8)},
    # pydantic's names
    **dict.fromkeys(("ipv4network", "ipv4interface"), _IPV4),
    **dict.fromkeys(("ipv6network", "ipv6interface"), _IPV6),
    **dict.fromkeys(("ipvanyaddress", "ipvanynetwork", "ipvanyinterface"), _IPV4),
}
# Formats of the standard that are not forced. Any other name is an annotation, as in JSON Schema.
_REFUSED: Final = frozenset(
    {
        "idn-email",
        "idn-hostname",
        "iri",
        "iri-reference",
        "json-pointer",
        "regex",
        "relative-json-pointer",
        "uri-reference",
        "uri-template",
    }
)


@dataclass(frozen=True)
class _Language:
    """A set of strings: a terminal's body, and how long its strings can be."""

    body: str
    shortest: int
    longest: int | None  # None: no end


def string_terminal(node: Node, writer: LarkWriter, limits: Limits) -> str | None:
    """The terminal of a string schema; None if no string fits."""
    schema = node.keywords
    languages = [found for found in (_pattern(node), _format(node)) if found is not None]
    shortest = max([0, *(language.shortest for language in languages)])
    ends = [language.longest for language in languages if language.longest is not None]
    low = schema.get("minLength", 0)
    if low > limits.max_explicit_chars:
        why = f"asks for more than {limits.max_explicit_chars} characters"
        refuse("minLength", f"{node.pointer}/minLength", why)
    high = schema.get("maxLength", max(limits.max_string_chars, low, shortest))
    high = min(high, limits.max_explicit_chars)
    if max(low, shortest) > min([high, *ends]):
        return None
    bodies = [
        f"({language.body})" if " " in language.body else language.body for language in languages
    ]
    if low > shortest or min([high + 1, *ends]) > high:
        bodies.append(regex(f'"{_CHAR}{{{low},{high}}}"'))
    return writer.terminal(" & ".join(bodies))


def key_terminal(names: Sequence[str], writer: LarkWriter, limits: Limits) -> str:
    """The terminal of a key that is none of ``names``: not empty, and written without escapes."""
    bodies = [regex(f'"{_RAW}{{1,{limits.max_key_chars}}}"')]
    bodies += ["~" + literal(json.dumps(name, ensure_ascii=False)) for name in names]
    return writer.terminal(" & ".join(bodies))


def _pattern(node: Node) -> _Language | None:
    if "pattern" not in node.keywords:
        return None
    try:
        return _language(node.keywords["pattern"])
    except PatternError as problem:
        refuse("pattern", f"{node.pointer}/pattern", f"holds {problem}, which is not supported")


def _format(node: Node) -> _Language | None:
    form = node.keywords.get("format")
    if form in _REFUSED:
        refuse("format", f"{node.pointer}/format", f"names {form!r}, which is not supported")
    source = FORMATS.get(form) if form is not None else None
    return None if source is None else _language(f"^(?:{source})$")


@lru_cache(maxsize=256)
def _language(source: str) -> _Language:
    branches = parse(source)
    bodies = []
    for branch in branches:
        terms = [regex(f'"{to_regex(branch.node)}"')]
        terms += [regex(f'"{to_regex(look)}"') for look in branch.positive]
        terms += ["~" + regex(f'"{to_regex(look)}"') for look in branch.negative]
        bodies.append(" & ".join(terms))
    ends = [branch.longest for branch in branches]
    longest = None if None in ends else max(end for end in ends if end is not None)
    return _Language(" | ".join(bodies), min(b.shortest for b in branches), longest)
