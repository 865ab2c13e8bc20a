"""Numbers within bounds and patterns over JSON text, against their definitions."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nearfar.llm.local.grammar.numbers import decimal_regex, integer_regex, nudge
from nearfar.llm.local.grammar.pattern_syntax import Node, PatternError
from nearfar.llm.local.grammar.patterns import parse, to_regex

BOUND = st.one_of(st.none(), st.integers(-3000, 3000))


@given(low=BOUND, high=BOUND, value=st.integers(-4000, 4000))
def test_an_integer_matches_exactly_if_it_is_within_the_bounds(
    low: int | None, high: int | None, value: int
) -> None:
    source = integer_regex(low, high, 4)
    inside = (low is None or value >= low) and (high is None or value <= high)
    assert bool(source and re.fullmatch(source, str(value))) == inside
    assert not (source and re.fullmatch(source, "-0"))


DECIMAL = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-9999, 9999),
    st.integers(0, 3),
)


@given(low=st.one_of(st.none(), DECIMAL), high=st.one_of(st.none(), DECIMAL), value=DECIMAL)
def test_a_decimal_matches_exactly_if_it_is_within_the_bounds(
    low: Decimal | None, high: Decimal | None, value: Decimal
) -> None:
    source = decimal_regex(low, high, 4, 3)
    inside = (low is None or value >= low) and (high is None or value <= high)
    text = f"{value or abs(value):f}"
    assert bool(source and re.fullmatch(source, text)) == inside


@given(bound=st.one_of(DECIMAL, st.sampled_from([Decimal("1e18"), Decimal(-123456789012345)])))
def test_an_exclusive_bound_moves_to_another_double(bound: Decimal) -> None:
    assert float(nudge(bound, 6, up=True)) > float(bound) > float(nudge(bound, 6, up=False))


PATTERNS = [
    r"^[A-Z]{3}-\d{2,4}$",
    r"^foo$|^bar$",
    r"^(a|b)+$",
    r"(^x$)|(^y\d$)",
    r'^["\\]{1,2}$',
    r"^[^\d\s]{2}$",
    r"^(?!ab)[a-c]{2}$",
    r"^(?=.b)[a-c]{2}$",
    r"^\S+@\S+\.\w{2,}$",
    r"^a{2}b?$",
    r"^\x41é\/[\]\-]$",
]


def in_python(node: Node) -> re.Pattern[str]:
    """A translated pattern in the notation of Python's own engine."""
    source = re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", to_regex(node))
    return re.compile(source)


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=20)
@given(data=st.data())
def test_json_text_that_matches_the_translation_matches_the_pattern(
    pattern: str, data: st.DataObject
) -> None:
    branch = data.draw(st.sampled_from(parse(pattern)))
    body = data.draw(st.from_regex(in_python(branch.node), fullmatch=True))
    assume(all(in_python(look).fullmatch(body) for look in branch.positive))
    assume(not any(in_python(look).fullmatch(body) for look in branch.negative))
    value = json.loads(f'"{body}"')
    assert re.search(pattern, value)
    assert branch.shortest <= len(value)
    assert branch.longest is None or len(value) <= branch.longest


def test_an_unanchored_pattern_allows_text_around_it() -> None:
    (branch,) = parse("foo")
    assert in_python(branch.node).fullmatch("a foo ü")
    assert branch.longest is None


@pytest.mark.parametrize(
    "pattern",
    [r"\bfoo", "a(?=b)", r"(a)\1", "(?i)a", "a(", "[z-a]", "(?<=a)b", "*", r"\p{L}", "[", "a{3,2}",
     "a{99999}", "(?P<", "a++", "\\", "[[:alpha:]]", "^^*", "[\x01]"],
)  # fmt: skip
def test_patterns_that_cannot_be_forced_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        [to_regex(branch.node) for branch in parse(pattern)]
