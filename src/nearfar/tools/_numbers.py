"""The calculator's arithmetic: fractions, bounded after every step."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from fractions import Fraction
from typing import Any

from nearfar.errors import ToolFailedError, ToolLimitError

MAX_BITS = 14_000  # of a numerator or denominator; Python writes numbers of up to 4,300 digits
DIGITS = 50  # of roots, logarithms and the like
SHOWN_DIGITS = 28  # of a number that has no end
EXACT_DIGITS = 40  # of one that is shown whole; more are what roots and the like have computed
_MAX_EXPONENT = 4200
_MAX_COUNT = 2000  # of what factorial, comb and perm take

_exactly = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN, Emax=_MAX_EXPONENT, Emin=-_MAX_EXPONENT)


def read(source: str, value: float) -> Fraction:
    """The number that is written in ``source``; ``value`` is what Python made of it."""
    if isinstance(value, int):
        return bounded(Fraction(value))
    written = Decimal(source.replace("_", ""))
    if abs(written.adjusted()) > _MAX_EXPONENT:
        raise _too_large()
    return bounded(Fraction(written))


def bounded(value: Any) -> Fraction:
    """``value`` as it is. Raises ToolLimitError where it has too many digits."""
    number = Fraction(value)
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        raise _too_large()
    return number


def show(value: Fraction) -> tuple[str, bool]:
    """The number as text, and whether the text is all of it."""
    if value.denominator == 1:
        return str(value.numerator), True
    digits = _decimals(value.denominator) or 0
    scaled = abs(value.numerator) * 10**digits // value.denominator if digits else 0
    if digits and scaled < 10**EXACT_DIGITS and digits <= DIGITS:
        whole, rest = divmod(scaled, 10**digits)
        sign = "-" if value < 0 else ""
        return f"{sign}{whole}.{rest:0{digits}d}".rstrip("0"), True
    context = Context(prec=SHOWN_DIGITS, Emax=10**6, Emin=-(10**6))
    rounded = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    text = str(context.normalize(rounded))
    return (
        f"{rounded.normalize():f}" if "E" in text and -30 < rounded.adjusted() < 60 else text
    ), False


def _decimals(denominator: int) -> int | None:
    """How many decimals it takes; None where they never end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None


def _two(work: Callable[[Fraction, Fraction], Any]) -> Callable[[Any, Any], Fraction]:
    return lambda a, b: bounded(work(_number(a), _number(b)))


def _number(value: Any) -> Fraction:
    if not isinstance(value, Fraction):
        raise ToolFailedError("A comparison is not a number that can be calculated with.")
    return value


def power(base: Any, exponent: Any) -> Fraction:
    """Exact for whole exponents, else to 50 digits."""
    base, exponent = _number(base), _number(exponent)
    if exponent.denominator != 1:
        if base < 0:
            raise ToolFailedError("A negative number has no real power with a fraction.")
        return _rounded(_exactly.power, base, exponent)
    if base in (0, 1, -1):
        if base == 0 and exponent < 0:
            raise ToolFailedError("The expression divides by zero.")
        return Fraction(base ** (int(exponent) % 2 + 2)) if base else Fraction(exponent == 0)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > 2 * MAX_BITS:
        raise _too_large()
    return bounded(base ** int(exponent))


def _rounded(work: Callable[..., Decimal], *values: Any) -> Fraction:
    """``work`` on decimals of 50 digits, as a fraction."""
    try:
        taken = [
            _exactly.divide(Decimal(_number(v).numerator), Decimal(v.denominator)) for v in values
        ]
        return bounded(Fraction(work(*taken)))
    except (DecimalException, OverflowError, ValueError):
        raise ToolFailedError(
            "The expression has no result here, or one that is too large."
        ) from None


def _root(value: Any) -> Fraction:
    value = _number(value)
    if value < 0:
        raise ToolFailedError("A negative number has no real square root.")
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if above**2 == value.numerator and below**2 == value.denominator:
        return Fraction(above, below)
    return _rounded(_exactly.sqrt, value)


def _by_float(work: Callable[[float], float]) -> Callable[[Any], Fraction]:
    """For angles: as exact as the machine's numbers, 15 decimals."""

    def call(value: Any) -> Fraction:
        try:
            return Fraction(f"{work(float(_number(value))):.15f}")
        except (ValueError, OverflowError):
            raise ToolFailedError("The function has no value there.") from None

    return call


def _log(value: Any, base: Any) -> Fraction:
    base, value = _number(base), _number(value)
    if value <= 0 or base <= 0 or base == 1:
        raise ToolFailedError("There is no logarithm of that number to that base.")
    found = _rounded(lambda x, y: _exactly.divide(_exactly.ln(x), _exactly.ln(y)), value, base)
    near = round(found)
    return Fraction(near) if abs(near) < MAX_BITS and _is_power(base, near, value) else found


def _is_power(base: Fraction, exponent: int, value: Fraction) -> bool:
    try:
        return power(base, Fraction(exponent)) == value
    except ToolLimitError:
        return False


def _round(value: Any, digits: Any = Fraction(0)) -> Fraction:
    """Half away from zero, as people round."""
    value, places = _number(value), _count(digits, low=-1000, high=1000)
    scale = Fraction(10) ** places
    whole = math.floor(abs(value) * scale + Fraction(1, 2))
    return bounded(Fraction(whole if value >= 0 else -whole) / scale)


def _count(value: Any, *, low: int = 0, high: int = _MAX_COUNT) -> int:
    value = _number(value)
    if value.denominator != 1:
        raise ToolFailedError("The function takes whole numbers.")
    if not low <= value <= high:
        raise ToolLimitError(f"The function takes whole numbers from {low:,} to {high:,}.")
    return int(value)


def _counting(work: Callable[..., int]) -> Callable[..., Fraction]:
    return lambda *values: bounded(work(*(_count(value) for value in values)))


def _whole(work: Callable[..., int]) -> Callable[..., Fraction]:
    def call(*values: Any) -> Fraction:
        if any(_number(value).denominator != 1 for value in values):
            raise ToolFailedError("The function takes whole numbers.")
        return bounded(work(*(int(value) for value in values)))

    return call


def _several(work: Callable[[list[Fraction]], Any]) -> Callable[..., Fraction]:
    def call(*values: Any) -> Fraction:
        if not values:
            raise ToolFailedError("The function takes at least one number.")
        return bounded(work([_number(value) for value in values]))

    return call


def _median(values: list[Fraction]) -> Fraction:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _one(work: Callable[[Fraction], Any]) -> Callable[[Any], Fraction]:
    return lambda value: bounded(work(_number(value)))


def _too_large() -> ToolLimitError:
    return ToolLimitError(
        "A number in the calculation has more than 4,200 digits.", data={"limit": MAX_BITS}
    )


def _constant(digits: str) -> Fraction:
    return Fraction(Decimal(digits))


NAMES: Mapping[str, Fraction] = {
    "pi": _constant("3.14159265358979323846264338327950288419716939937511"),
    "tau": _constant("6.28318530717958647692528676655900576839433879875021"),
    "e": _constant("2.71828182845904523536028747135266249775724709369996"),
}

OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _two(operator.add),
    ast.Sub: _two(operator.sub),
    ast.Mult: _two(operator.mul),
    ast.Div: _two(operator.truediv),
    ast.FloorDiv: _two(operator.floordiv),
    ast.Mod: _two(operator.mod),
    ast.Pow: power,
    ast.USub: _one(operator.neg),
    ast.UAdd: _one(operator.pos),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.LtE: operator.le,
    ast.Not: operator.not_,
}

FUNCTIONS: Mapping[str, Callable[..., Fraction]] = {
    "abs": _one(abs),
    "acos": _by_float(math.acos),
    "asin": _by_float(math.asin),
    "atan": _by_float(math.atan),
    "ceil": _one(math.ceil),
    "comb": _counting(math.comb),
    "cos": _by_float(math.cos),
    "degrees": _one(lambda x: x * 180 / NAMES["pi"]),
    "exp": lambda value: _rounded(_exactly.exp, value),
    "factorial": _counting(math.factorial),
    "floor": _one(math.floor),
    "gcd": _whole(math.gcd),
    "lcm": _whole(math.lcm),
    "ln": lambda value: _log(value, NAMES["e"]) if value != 1 else Fraction(0),
    "log": _log,
    "log10": lambda value: _log(value, Fraction(10)),
    "log2": lambda value: _log(value, Fraction(2)),
    "max": _several(max),
    "mean": _several(lambda values: sum(values) / len(values)),
    "median": _several(_median),
    "min": _several(min),
    "percent_change": _two(lambda old, new: (new - old) / old * 100),
    "percent_of": _two(lambda percent, whole: percent * whole / 100),
    "perm": _counting(math.perm),
    "radians": _one(lambda x: x * NAMES["pi"] / 180),
    "round": _round,
    "sin": _by_float(math.sin),
    "sqrt": _root,
    "sum": _several(sum),
    "tan": _by_float(math.tan),
}
