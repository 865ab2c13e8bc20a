"""Numbers that a state gives to a person, by the forms and check digits of their countries."""

import re
from collections.abc import Callable, Iterator

from .checksums import luhn, mod11_10, verhoeff, weighted

_NOT_DIGITS = re.compile(r"\D")
_B = r"(?<![\w.,-])"
_E = r"(?![\w]|[.,-]\d)"
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_PASSPORT = re.compile(
    r"\b(?:PASSPORT|REISEPASS|PASSEPORT|PASAPORTE|PASSAPORTO)(?: ?(?:NUMBER|NO|NR|NUMMER|NUMERO|N)\b)?"
    r"[^\n\w]{0,4}(?:IS |IST |: ?)?(?=(?:[A-Z]{0,9}\d){3})[A-Z0-9]{7,10}\b",
)
_IT_ODD = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)


def _date(year: str, month: str, day: str) -> bool:
    return year.isdigit() and 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _american(digits: str) -> bool:
    return (
        digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def _polish(digits: str) -> bool:
    dated = 1 <= int(digits[2:4]) % 20 <= 12 and _date(digits[:2], "1", digits[4:6])
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return dated and weighted(digits, weights) % 10 == 0


def _brazilian(digits: str) -> bool:
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        rest = weighted(digits[:length], tuple(range(length + 1, 1, -1))) * 10 % 11 % 10
        if rest != int(digits[length]):
            return False
    return True


def _dutch(digits: str) -> bool:
    return digits != "0" * 9 and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _swedish(digits: str) -> bool:
    ten = digits[-10:]
    return _date(ten[:2], ten[2:4], ten[4:6]) and luhn(ten)


def _danish(digits: str) -> bool:
    return _date(digits[4:6], digits[2:4], digits[:2])


def _french(written: str) -> bool:
    plain = re.sub(r"[ .]", "", written).upper()
    number = plain[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(plain[13:])


def _spanish(written: str) -> bool:
    plain = re.sub(r"[ .-]", "", written).upper()
    number = int(plain[:-1].translate(str.maketrans("XYZ", "012")))
    return _DNI[number % 23] == plain[-1]


def _italian(written: str) -> bool:
    plain = written.upper().replace(" ", "")
    total = 0
    for place, character in enumerate(plain[:15]):
        value = int(character) if character.isdigit() else ord(character) - 65
        total += value if place % 2 else _IT_ODD[value]
    return chr(65 + total % 26) == plain[15]


def _finnish(written: str) -> bool:
    number = int(written[:6] + written[7:10])
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31] == written[10].upper()


def _after(words: str, number: str) -> str:
    """A number that only counts after a word for it."""
    return rf"\b(?:{words})\b[^\n\d]{{0,25}}(?<![\d-])({number}){_E}"


def _digits(check: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda written: check(_NOT_DIGITS.sub("", written))


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (re.compile(form), check)
    for form, check in (
        (rf"{_B}(\d{{3}}(?:-\d\d-| \d\d )\d{{4}}){_E}", _digits(_american)),
        (_after("SSN|SOCIAL SECURITY(?: NUMBER| NO)?", r"\d{9}"), _digits(_american)),
        (rf"{_B}((?:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]|QQ)(?: ?\d\d){{3}} ?[A-D]){_E}", lambda w: w[:2].upper() not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")),
        (rf"{_B}(\d{{2}}\.?\d{{3}}\.?\d{{3}}[ -]?[A-Z]|[XYZ][ -]?\d{{7}}[ -]?[A-Z]){_E}", _spanish),
        (rf"{_B}([A-Z]{{3}} ?[A-Z]{{3}} ?\d\d[A-EHLMPRST]\d\d ?[A-Z]\d{{3}}[A-Z]){_E}", _italian),
        (rf"{_B}([12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-4]\d) ?(?:\d\d|2[AB]) ?\d{{3}} ?\d{{3}} ?\d\d){_E}", _french),
        (rf"{_B}(\d{{11}}){_E}", _digits(_polish)),
        (rf"{_B}(\d{{3}}\.\d{{3}}\.\d{{3}}-\d\d){_E}", _digits(_brazilian)),
        (_after("CPF", r"\d{11}"), _digits(_brazilian)),
        (rf"{_B}((?:19|20)?\d{{6}}[-+]\d{{4}}){_E}", _digits(_swedish)),
        (_after("CPR(?:-NUMMER|-NR)?|PERSONNUMMER", r"\d{6}-?\d{4}"), _digits(_danish)),
        (rf"{_B}(\d{{6}}[-+A]\d{{3}}[0-9A-FHJ-NPR-Y]){_E}", _finnish),
        (rf"(?<!\d ){_B}([2-9]\d{{3}}(?: \d{{4}}){{2}})(?! \d){_E}", _digits(verhoeff)),
        (_after("AADHAAR", r"\d{12}"), _digits(verhoeff)),
        (rf"{_B}([A-Z]{{3}}[ABCFGHJLPT][A-Z]\d{{4}}[A-Z]){_E}", bool),
        (_after("SIN|SOCIAL INSURANCE(?: NUMBER)?", r"\d{3}[ -]?\d{3}[ -]?\d{3}"), _digits(luhn)),
        (_after("BSN|BURGERSERVICENUMMER", r"\d{9}"), _digits(_dutch)),
        (_after("STEUER-?ID(?:ENTIFIKATIONSNUMMER)?|STEUERNUMMER|IDNR|TAX ID", r"\d{2} ?\d{3} ?\d{3} ?\d{3}"), _digits(mod11_10)),
    )
)  # fmt: skip


def national_ids(text: str) -> Iterator[None]:
    """Numbers of persons of some twenty countries, and passports after the word for one."""
    capitals = text.upper()
    for form, fits in _FORMS:
        yield from (None for found in form.finditer(capitals) if fits(found[1]))
    yield from (None for _ in _PASSPORT.finditer(capitals))
