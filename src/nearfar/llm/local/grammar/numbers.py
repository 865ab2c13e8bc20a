"""Regular expressions for numbers within bounds, written without exponent and in few digits."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_ONE = Decimal(1)


def integer_regex(low: int | None, high: int | None, digits: int) -> str | None:
    """Integers from ``low`` to ``high`` (None: what ``digits`` digits reach); None if there are none."""
    span = 10 ** max(digits, *(len(str(abs(b))) + 1 for b in (low, high) if b), 1) - 1
    low = -span if low is None else low
    high = span if high is None else high
    parts = []
    if high >= 0 and (natural := _naturals(max(low, 0), high)):
        parts.append(natural)
    if low < 0 and (natural := _naturals(max(-high, 1), -low)):
        parts.append(f"-{_group(natural)}")
    return "|".join(parts) or None


def decimal_regex(
    low: Decimal | None, high: Decimal | None, digits: int, fraction: int
) -> str | None:
    """Decimals from ``low`` to ``high``, both inclusive; None if there are none.

    At most ``fraction`` digits stand after the point, or as many as a bound has.
    """
    bounds = [b for b in (low, high) if b is not None]
    fraction = max([fraction, *(_scale(b) for b in bounds)])
    whole = Decimal(10) ** max([digits, *(b.adjusted() + 2 for b in bounds)])
    span = whole - _ONE.scaleb(-fraction)
    low = -span if low is None else low
    high = span if high is None else high
    parts = []
    if high >= 0 and (part := _decimals(max(low, Decimal(0)), high, fraction)):
        parts.append(part)
    smallest = max(-high, _ONE.scaleb(-fraction))
    if low < 0 and (part := _decimals(smallest, -low, fraction)):
        parts.append(f"-{_group(part)}")
    return "|".join(parts) or None


def nudge(bound: Decimal, fraction: int, *, up: bool) -> Decimal:
    """The next decimal beyond an exclusive bound, far enough to be another double as well."""
    step = _ONE.scaleb(-max(fraction, _scale(bound)))
    while float(bound + step) == float(bound) or float(bound - step) == float(bound):
        step *= 10
    return bound + step if up else bound - step


def floor(value: Decimal) -> int:
    """The largest integer that is not above ``value``."""
    return int(value.to_integral_value(ROUND_FLOOR))


def ceiling(value: Decimal) -> int:
    """The smallest integer that is not below ``value``."""
    return int(value.to_integral_value(ROUND_CEILING))


def _scale(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _group(source: str) -> str:
    return f"(?:{source})"


def _digit(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _any_digits(count: int) -> str:
    return "" if not count else "[0-9]" if count == 1 else f"[0-9]{{{count}}}"


def _naturals(low: int, high: int) -> str:
    """Naturals from low to high without leading zeros; "" if there are none."""
    if low > high:
        return ""
    parts = []
    first, last = len(str(low)), len(str(high))
    for size in range(first, last + 1):
        bottom = str(low) if size == first else "1" + "0" * (size - 1)
        top = str(high) if size == last else "9" * size
        parts += _fixed(bottom, top)
    return "|".join(_joined(parts))


def _joined(parts: list[str]) -> list[str]:
    """Runs like [1-9], [1-9][0-9], [1-9][0-9]{2} become one [1-9][0-9]{0,2}."""
    runs = ["[1-9]" + _any_digits(n) for n in range(40)]
    sizes = [runs.index(p) for p in parts if p in runs]
    if len(sizes) < 2:
        return parts
    rest = [p for p in parts if p not in runs]
    return [*rest, f"[1-9][0-9]{{{min(sizes)},{max(sizes)}}}"]


def _fixed(low: str, high: str) -> list[str]:
    """Digit strings of one length from low to high."""
    if not low:
        return [""]
    tail = len(low) - 1
    if low == "0" * len(low) and high == "9" * len(high):
        return [_any_digits(len(low))]
    if low[1:] == "0" * tail and high[1:] == "9" * tail:
        return [_digit(int(low[0]), int(high[0])) + _any_digits(tail)]
    if low[0] == high[0]:
        return [low[0] + _group("|".join(_fixed(low[1:], high[1:])))]
    parts = [low[0] + _group("|".join(_fixed(low[1:], "9" * tail)))]
    if int(high[0]) - int(low[0]) > 1:
        parts.append(_digit(int(low[0]) + 1, int(high[0]) - 1) + _any_digits(tail))
    parts.append(high[0] + _group("|".join(_fixed("0" * tail, high[1:]))))
    return parts


def _decimals(low: Decimal, high: Decimal, fraction: int) -> str:
    """Decimals from low to high, both at least 0; "" if there are none."""
    quantum = _ONE.scaleb(-fraction)
    low, high = low.quantize(quantum, ROUND_CEILING), high.quantize(quantum, ROUND_FLOOR)
    if low > high:
        return ""
    first, last = floor(low), floor(high)
    below = _digits_after(low, fraction)
    above = _digits_after(high, fraction)
    zeros, nines = "0" * fraction, "9" * fraction
    if first == last:
        return f"{first}{_fractions(below, above)}"
    parts = []
    if below != zeros:
        parts.append(f"{first}{_fractions(below, nines)}")
        first += 1
    if above != nines:
        parts.append(f"{last}{_fractions(zeros, above)}")
        last -= 1
    if whole := _naturals(first, last):
        parts.append(_group(whole) + _fractions(zeros, nines))
    return "|".join(parts)


def _digits_after(value: Decimal, fraction: int) -> str:
    return f"{value:.{fraction}f}".partition(".")[2]


def _fractions(low: str, high: str) -> str:
    """What may follow the integer part: nothing, or a point and digits.

    The bounds are as long as the longest fraction; a shorter one counts as if zeros followed.
    """
    digits = _fraction_digits(low, high)
    if not digits:
        return ""
    optional = "?" if not low.strip("0") else ""
    return f"(?:\\.{_group(digits)}){optional}"


def _fraction_digits(low: str, high: str) -> str:
    """Digit strings of 1 to len(low) digits that, filled with zeros, lie within the bounds."""
    if not low or not high.strip("0"):
        return "0" if low else ""
    tail = len(low) - 1
    zeros, nines = "0" * tail, "9" * tail
    if not low.strip("0") and not high.strip("9"):
        return f"[0-9]{{1,{len(low)}}}"
    if low[0] == high[0]:
        return low[0] + _rest(low[1:], high[1:])
    parts = [low[0] + _rest(low[1:], nines)]
    if int(high[0]) - int(low[0]) > 1:
        inner = _digit(int(low[0]) + 1, int(high[0]) - 1)
        parts.append(inner + (f"[0-9]{{0,{tail}}}" if tail else ""))
    parts.append(high[0] + _rest(zeros, high[1:]))
    return "|".join(parts)


def _rest(low: str, high: str) -> str:
    digits = _fraction_digits(low, high)
    if not digits:
        return ""
    return _group(digits) + ("?" if not low.strip("0") else "")
