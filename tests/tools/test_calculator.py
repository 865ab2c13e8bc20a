"""`calculator` is exact, and nothing makes it slow, large, or anything but a calculator."""

import contextlib
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from nearfar.errors import ToolFailedError, ToolLimitError
from nearfar.settings import Settings
from nearfar.tools import tool
from nearfar.tools.calculator import evaluate

HOSTILE: dict[str, list[str]] = {
    "powers": [
        "9**9**9**9",
        "10**10**10",
        "2**999999999999",
        "(2**1000)**1000",
        "0.1**-99999999",
        "1.000001**(10**12)",
        "2**(2**63)",
        "exp(10**9)",
        "exp(exp(exp(10)))",
    ],
    "large numbers": [
        "1e999999999",
        "1e-999999999",
        "factorial(999999999)",
        "factorial(factorial(20))",
        "comb(10**9, 5*10**8)",
        "perm(10**6, 10**6)",
        "9" * 900 + "**9",
        "lcm(" + ",".join(str(10**60 + n) for n in range(15)) + ")**40",
        "round(1/3, 10**9)",
        "*".join(["factorial(900)"] * 12),
    ],
    "attributes": [
        "().__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "(1).real",
        "sqrt.__globals__",
        "'{0.__class__}'.format(1)",
        "__import__('os').system('id')",
        "pi.as_integer_ratio()",
        "f'{pi.__class__}'",
    ],
    "comprehensions": [
        "[x for x in range(10**9)]",
        "sum(x for x in range(10**9))",
        "{x: x for x in (1, 2)}",
        "{x for x in (1, 2)}",
        "[[x for x in range(9)] for y in range(9)]",
    ],
    "names and calls": [
        "open('/etc/passwd')",
        "eval('1')",
        "exec('1')",
        "globals()",
        "print(1)",
        "range(10**12)",
        "sqrt",
        "sqrt(sqrt)",
        "(sqrt)(4)()",
        "max(*[1, 2])",
        "min(**{'a': 1})",
        "(lambda: 1)()",
        "(lambda f: f(f))(lambda f: f(f))",
    ],
    "texts and containers": [
        "'a' * 10**9",
        "b'a' * 10**9",
        "[0] * 10**9",
        "(1, 2) * 10**9",
        "{1: 2}[1]",
        "[1, 2, 3][0]",
        "...",
        "1j ** 2",
        "None",
        "True + True",
    ],
    "statements": [
        "import os",
        "a = 1",
        "(a := 1)",
        "1; 2",
        "del pi",
        "yield 1",
        "await 1",
        "while True: 1",
        "assert 0",
    ],
    "length": [
        "1+" * 5000 + "1",
        "1" * 100_000,
        " " * 2000 + "1",
        "1+" * 499 + "1",
        "-" * 999 + "1",
    ],
    "depth": [
        "(" * 200 + "1" + ")" * 200,
        "sqrt(" * 60 + "1" + ")" * 60,
        "-" * 90 + "1",
        "2**" * 80 + "1",
        "[" * 90 + "]" * 90,
        "abs(" * 99 + "1",
        "1 if 1 else " * 60 + "1",
    ],
    "signs": ["1\x002", "\u0661+1", "1\u2028+1", "\u202e1+1", "\uff11+\uff11", "1 \U0001f600 2"],
    "no value": ["1/0", "0**-1", "sqrt(-1)", "ln(0)", "log(2, 1)", "(-8)**0.5", "acos(2)", "1 % 0"],
}
CASES = [(kind, text) for kind, texts in HOSTILE.items() for text in texts]


@pytest.fixture(scope="module")
def calculator() -> BaseTool:
    return tool("calculator", Settings())


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1/3*3", "1"),
        ("1/3", "0.3333333333333333333333333333"),
        ("2^10", "1024"),
        ("2*3^2", "18"),
        ("-3**2", "-9"),
        ("2 ** 0.5", "1.414213562373095048801688724"),
        ("sqrt(144)", "12"),
        ("sqrt(2) ** 2", "2"),
        ("8 ** (1/3)", "2"),
        ("15% of 80", "12"),
        ("80 * 15%", "12"),
        ("12.5% of 80 + 1", "11"),
        ("25% of 25% of 80", "5"),
        ("(10+5)% of 40", "6"),
        ("17 % 5", "2"),
        ("17%5", "2"),
        ("percent_change(80, 100)", "25"),
        ("percent_of(15, 80)", "12"),
        ("log(8, 2)", "3"),
        ("log10(1000)", "3"),
        ("ln(1)", "0"),
        ("sin(pi)", "0"),
        ("cos(0)", "1"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(1.005, 2)", "1.01"),
        ("mean(1, 2, 3, 4)", "2.5"),
        ("median(3, 1, 2)", "2"),
        ("max(1, 2) + min(3, 4)", "5"),
        ("factorial(20)", "2432902008176640000"),
        ("7 // 2", "3"),
        ("3 > 2", "true"),
        ("1 if 2 > 3 else 4", "4"),
        ("3 \u00d7 4 \u00f7 2 =", "6"),
        ("12345678901234567890.123456789 * 1", "12345678901234567890.123456789"),
        ("1e3 + 0xff + 1_000", "2255"),
        ("19.99 * 3", "59.97"),
    ],
)
def test_it_calculates(calculator: BaseTool, expression: str, answer: str) -> None:
    assert calculator.invoke({"expression": expression}) == answer


@pytest.mark.parametrize(("kind", "expression"), CASES)
def test_what_is_hostile_is_refused_at_once(
    calculator: BaseTool, kind: str, expression: str
) -> None:
    begun = time.perf_counter()
    call = {"name": "calculator", "args": {"expression": expression}, "id": "1"}
    message = calculator.invoke({**call, "type": "tool_call"})
    if not message.content.isdecimal():  # "1+1+1..." within the limits is just a sum
        assert message.status == "error", message.content
    assert len(message.content) < 1000
    assert "Traceback" not in message.content
    assert "failed.\n" not in message.content, "an error that was not foreseen"
    assert time.perf_counter() - begun < 2


def test_the_corpus_has_at_least_five_of_each_kind() -> None:
    assert min(len(texts) for texts in HOSTILE.values()) >= 5


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_it_agrees_with_fractions(a: Fraction, b: Fraction) -> None:
    left, right = f"({a})", f"({b})"
    assert evaluate(f"{left}+{right}") == a + b
    assert evaluate(f"{left}*{right}-{right}") == a * b - b
    assert evaluate(f"{left}<{right}") == (a < b)


@given(st.text(alphabet="0123456789.+-*/%^() ,eE<>=sqrtofpi_'[]{}:", max_size=60))
def test_any_text_ends_in_a_value_or_a_typed_error(text: str) -> None:
    with contextlib.suppress(ToolFailedError, ToolLimitError):
        evaluate(text)


def test_an_ambiguous_percentage_is_not_guessed(calculator: BaseTool) -> None:
    assert "two things" in calculator.invoke({"expression": "200 + 10%"})
    assert calculator.invoke({"expression": "200 + 10% of 200"}) == "220"


class _Standard:
    @property
    def tool_constructor(self) -> Any:
        return tool("calculator", Settings())

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"expression": "1 + 1"}


class TestUnit(_Standard, ToolsUnitTests):
    """LangChain's own suite."""


class TestIntegration(_Standard, ToolsIntegrationTests):
    """LangChain's own suite."""
