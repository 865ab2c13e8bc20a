"""`calculator`: exact arithmetic on an expression, with bounds on its size, depth and numbers.

Numbers are fractions, so 0.1 + 0.2 is 0.3 and 1 / 3 * 3 is 1. Roots, logarithms and the like are
computed to 50 digits. The expression is parsed, and evaluated by simpleeval with nothing but the
operators, functions and names below: no attributes, no texts, no containers.
"""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from pydantic import Field
from simpleeval import InvalidExpression, SimpleEval

from nearfar.errors import ToolFailedError, ToolLimitError
from nearfar.settings import Settings

from . import _numbers as numbers
from .base import Arguments, GuardedTool, Result, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHARS = 1000
MAX_DEPTH = 50
MAX_NODES = 500

_DESCRIPTION = f"""\
Calculates one arithmetic expression exactly and returns the number.
Operators: + - * / // % ** (or ^), comparisons, brackets; 15% is 0.15, and "15% of 80" works.
Functions: {", ".join(sorted(numbers.FUNCTIONS))}. Names: {", ".join(sorted(numbers.NAMES))}."""

_SIGNS = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{DIVISION SIGN}": "/",
        "\N{MINUS SIGN}": "-",
        "\N{NO-BREAK SPACE}": " ",
        "\n": " ",
        "\t": " ",
    }
)
# A percent sign right behind a number, and not followed by another: 15% of 80, but 17 % 5 and 17%5.
_PERCENT = re.compile(r"(?<=[\d.)])%(?=\s*(?:$|[)+*/,<>=-]|of\b))")
_OF = re.compile(r"(?<=%)\s*of\b|\bof\b")
_ADDED_PERCENT = re.compile(r"[\d)]\s*[+-]\s*[\d.]+%(?!\s*of\b)(?=\s*(?:$|[)+*/,<>=-]))")
_GROUPED = re.compile(r"(?<![\w.(,])\d{1,3}(?:,\d{3})+(?![\d,])")


class CalculatorArguments(Arguments):
    """What `calculator` takes."""

    expression: str = Field(
        description="The expression, such as '3 * (2.5 + 4)', 'sqrt(2)' or '15% of 80'."
    )


def calculator(settings: Settings) -> GuardedTool:
    """Exact arithmetic."""
    return guarded(
        settings,
        name="calculator",
        description=_DESCRIPTION,
        args=CalculatorArguments,
        body=_calculate,
        default="allow",
        effects=False,
    )


def _calculate(expression: str) -> Result:
    value = evaluate(expression)
    if isinstance(value, bool):
        return Result(str(value).lower(), data=value)
    text, exact = numbers.show(value)
    return Result(text, data={"value": text, "exact": exact, "fraction": str(value)})


def evaluate(expression: str) -> Fraction | bool:
    """The value of the expression.

    Raises ToolLimitError for what is too long, too deep or too large, and ToolFailedError for what
    is not arithmetic.
    """
    text = _normal(expression)
    tree = _parse(text)
    try:
        value = _Evaluator(text).eval(text, previously_parsed=tree)
    except (ToolFailedError, ToolLimitError):
        raise
    except ZeroDivisionError:
        raise ToolFailedError("The expression divides by zero.") from None
    except (InvalidExpression, ArithmeticError, TypeError, ValueError) as error:
        raise ToolFailedError(f"The expression cannot be calculated: {_said(error)}") from None
    if not isinstance(value, Fraction | bool):
        raise ToolFailedError("The expression is not a number.")
    return value


def _normal(expression: str) -> str:
    """The expression as Python writes it."""
    if len(expression) > MAX_CHARS:
        raise ToolLimitError(
            f"The expression is too long: {len(expression):,} characters of {MAX_CHARS:,}.",
            data={"limit": MAX_CHARS},
        )
    text = expression.translate(_SIGNS).strip().removesuffix("=").rstrip()
    if not text:
        raise ToolFailedError("The expression is empty.")
    if not text.isascii() or not text.isprintable():
        raise ToolFailedError("The expression holds characters that are not of arithmetic.")
    if _GROUPED.search(text) and "(" not in text:
        raise ToolFailedError("Write numbers without commas: 1234567.89 for 1,234,567.89.")
    if _ADDED_PERCENT.search(text):
        raise ToolFailedError(
            "Adding a percentage can mean two things.",
            remedy="Write '200 + 10% of 200' or '200 * 1.10'.",
        )
    text = _PERCENT.sub("*0.01 ", _OF.sub("*", text) if "%" not in text else _percent_of(text))
    return text.replace("^", "**")


def _percent_of(text: str) -> str:
    """`15% of 80` as `15*0.01 * 80`."""
    return re.sub(r"(?<=[\d.)])%\s*of\b", "*0.01 *", text)


def _parse(text: str) -> ast.expr:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise _too_deep()
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolFailedError("The expression is not arithmetic that can be read.") from None
    for count, (depth, _node) in enumerate(_walk(tree), start=1):
        if depth > MAX_DEPTH:
            raise _too_deep()
        if count > MAX_NODES:
            raise ToolLimitError(
                f"The expression has more than {MAX_NODES} parts.", data={"limit": MAX_NODES}
            )
    return tree


def _walk(tree: ast.AST) -> "Iterator[tuple[int, ast.AST]]":
    """Every node with its depth, without recursion."""
    waiting = [(1, tree)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += [
            (depth + 1, child)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.operator | ast.unaryop | ast.cmpop | ast.boolop)
        ]


def _too_deep() -> ToolLimitError:
    return ToolLimitError(
        f"The expression is nested more than {MAX_DEPTH} levels deep.", data={"limit": MAX_DEPTH}
    )


_KEPT = (ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)


class _Evaluator(SimpleEval):  # type: ignore[misc]  # simpleeval has no types
    """Numbers, operators, calls of known functions, and nothing else."""

    def __init__(self, text: str) -> None:
        super().__init__(
            operators=dict(numbers.OPERATORS),
            functions=dict(numbers.FUNCTIONS),
            names=dict(numbers.NAMES),
            allowed_attrs={},
        )
        self._text = text
        known = self.nodes
        self.nodes: dict[type[ast.AST], Callable[[Any], Any]] = {
            **{kind: known[kind] for kind in _KEPT},
            ast.Constant: self._number,
            ast.Name: self._name,
            ast.Call: self._function,
        }

    def _number(self, node: ast.Constant) -> Fraction:
        """From the source, because a float has forgotten digits."""
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise ToolFailedError("The expression may hold numbers only.")
        return numbers.read(self._text[node.col_offset : node.end_col_offset], node.value)

    def _name(self, node: ast.Name) -> Fraction:
        if node.id not in numbers.NAMES:
            raise ToolFailedError(f"There is no name '{node.id[:40]}' here.")
        return numbers.NAMES[node.id]

    def _function(self, node: ast.Call) -> Fraction:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in numbers.FUNCTIONS:
            raise ToolFailedError(f"There is no function '{name[:40]}' here.")
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise ToolFailedError(f"'{name}' takes plain numbers.")
        arguments = [self._eval(arg) for arg in node.args]
        try:
            return numbers.FUNCTIONS[name](*arguments)
        except TypeError:
            raise ToolFailedError(f"'{name}' does not take these arguments.") from None


def _said(error: Exception) -> str:
    text = str(error).split("\n", 1)[0][:200]
    return text or type(error).__name__
