"""Finders for cards, accounts, telephone numbers and addresses of machines."""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from .checksums import luhn, mod97

_SEPARATORS = str.maketrans("", "", " -./()\u00a0")
_CARD = re.compile(
    r"(?<![^\W_])(?<!\d[.,])(?:"
    r"(?=([2-6](?:[ .-]{0,2}\d){15})(?![^\W_]))"
    r"|(?=(3(?:[ .-]{0,2}\d){14})(?![^\W_]))"
    r"|(?=(3(?:[ .-]{0,2}\d){13})(?![^\W_]))"
    r"|(?=(4\d{12}|[46]\d{18})(?![^\W_])))"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}(?: ?\d){2}(?=((?:[ -]{0,2}[A-Za-z0-9]){11,30}))")
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT",
        26: "IS TR",
        27: "FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB PL",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT",
    }.items()
    for country in countries.split()
}
_DIGITS = re.compile(r"\d(?:[^\d\n]{0,4}\d){3,}")
_BEFORE, _AFTER = 60, 40
"""Characters around digits that the finders of numbers look at."""
_GAP = r"[ ().\-/]{0,3}"
_ABROAD = re.compile(
    rf"(?<![\w+.,])(?<!\d[ -])(\+|00)({_GAP}[1-9](?:{_GAP}\d){{6,14}})(?!\d|[.,]\d)"
)
_AMERICAN = re.compile(
    r"(?<![\w.+-])(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?![\w]|[-.]\d)"
)
_AT_HOME = re.compile(
    r"(?<![\w.,+\-/])(?<!\d[ -])\(?0[1-9]\d{0,4}\)?(?:[ \-/]{1,2}\d{2,8}){1,5}(?![\w]|[.,:/-]\d)"
)
_NAMED = re.compile(
    r"\b(?:tele(?:phone|fon|fono)?|tel|phone|fon|mobile|mobil|handy|cell|fax|whatsapp|sms|mobiles?"
    r"|(?:call|text|ring|reach|dial) (?:me|us|him|her|them)|numero de tel\w{0,8}|telefonnummer)"
    r"(?:[^\n\d+]{0,20})(\+?\(?\d(?:[ ().\-/]{0,3}\d){6,14})(?!\d)",
    re.IGNORECASE,
)
_CALLING_CODES = re.compile(
    r"1[2-9]|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|21[1-8]|2[2-69]\d|3[578]\d|42[0-3]"
    r"|5[09]\d|6[789]\d|8[0578]\d|9[679]\d"
)
_DATE = re.compile(r"\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d")
_IPV4 = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?![\w]|\.\d)")
_VERSION = re.compile(
    r"(?:\bv|ver(?:sion)?|release|build|section|chapter|rev(?:ision)?|firmware)[ .:=]{0,3}$",
    re.IGNORECASE,
)
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f:]{0,30}\d)([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:])"
)


def numeric(text: str) -> str:
    """The parts of a text that have digits, with what stands around them: little, in most texts."""
    parts = []
    past = 0
    for found in _DIGITS.finditer(text):
        start = max(past, found.start() - _BEFORE)
        end = found.end() + _AFTER
        if end > past:
            parts.append(text[start:end] if start > past else f"\0{text[past:end]}")
            past = end
    return "\n".join(parts).replace("\n\0", "")


def cards(text: str) -> Iterator[None]:
    """Numbers of payment cards: issuer, length and check digit fit."""
    past = 0
    for found in _CARD.finditer(text):
        group = found.lastindex
        if group is None or found.start() < past:
            continue
        digits = found[group].translate(_SEPARATORS)
        if _is_issued(digits) and luhn(digits):
            past = found.end(group)
            yield None


def ibans(text: str) -> Iterator[None]:
    """Bank accounts: country, length and check digits fit."""
    for found in _IBAN.finditer(text):
        whole = (found.group() + found[1]).translate(_SEPARATORS).upper()
        length = _IBAN_LENGTHS.get(whole[:2])
        if length is not None and len(whole) >= length and mod97(whole[:length]):
            yield None


def phones(text: str) -> Iterator[None]:
    """Telephone numbers: with the code of a country, as in America, with a leading 0, or after a word for it."""
    for found in _ABROAD.finditer(text):
        digits = found[2].translate(_SEPARATORS)
        written_apart = found[1] == "+" or len(digits) < len(found[2])
        if written_apart and _is_abroad(digits):
            yield None
    yield from (None for _ in _AMERICAN.finditer(text))
    for found in _AT_HOME.finditer(text):
        digits = found.group().translate(_SEPARATORS)
        if 9 <= len(digits) <= 12 and not _DATE.match(found.group()) and len(set(digits)) > 2:
            yield None
    yield from (None for _ in _NAMED.finditer(text))


def addresses(text: str) -> Iterator[None]:
    """IP addresses of some machine: not loopback, not a mask, not the number of a version."""
    for found in _IPV4.finditer(text):
        if not _VERSION.search(text, max(0, found.start() - 12), found.start()) and _names_v4(
            found[1]
        ):
            yield None
    if text.count(":") > 1:
        yield from (None for found in _IPV6.finditer(text) if _names_v6(found[1]))


def _is_issued(digits: str) -> bool:
    first2, first4 = int(digits[:2]), int(digits[:4])
    if len(digits) == 15:
        return first2 in (34, 37)
    if len(digits) == 14:
        return first2 in (36, 38, 39) or 300 <= first4 // 10 <= 305
    if digits[0] == "4":
        return True
    if len(digits) == 19:
        return first2 == 62
    return (
        51 <= first2 <= 55
        or 2221 <= first4 <= 2720
        or first4 == 6011
        or first2 in (62, 65)
        or 644 <= first4 // 10 <= 649
        or 3528 <= first4 <= 3589
    )


def _is_abroad(digits: str) -> bool:
    if not 8 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    if digits[0] == "1":
        return len(digits) == 11 and digits[1] > "1" and digits[4] > "1"
    return _CALLING_CODES.match(digits) is not None


def _names_v4(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not (
        address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or text.startswith("255.")
    )


def _names_v6(text: str) -> bool:
    if ":::" in text or text.count(":") < 2:
        return False
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
