"""Decides, before a database sees it, whether a text is one query that only reads.

The text is parsed, and the tokens are looked at as well: the parser knows what kind of statement it
is, the tokens show every name that stands before a bracket, under whatever node the parser files it.
"""

import logging
import re
from collections.abc import Iterable
from itertools import pairwise

import sqlglot
from sqlglot import Expr, Token, TokenType, exp
from sqlglot.errors import SqlglotError

from nearfar.errors import ToolFailedError, ToolLimitError, ToolRefusedError

from . import _sql_names as names

MAX_CHARS = 20_000
_MAX_DEPTH = 60
_MAX_TOKENS = 5_000

_QUERIES = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)
# What changes something, locks something, or is more than the parser understood.
_FORBIDDEN = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.AlterColumn,
    exp.TruncateTable,
    exp.Command,
    exp.Copy,
    exp.Into,
    exp.Lock,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Set,
    exp.SetItem,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Use,
    exp.Kill,
    exp.LoadData,
    exp.Grant,
    exp.Revoke,
    exp.Analyze,
    exp.Comment,
    exp.Cache,
    exp.Uncache,
    exp.Refresh,
    exp.Export,
    exp.Describe,
    exp.Show,
    exp.Parameter,
    exp.SessionParameter,
    exp.Placeholder,
    exp.Install,
    exp.Execute,
    exp.Declare,
    exp.Return,
    exp.Block,
)
# How a plan is shown; ANALYZE is not among them, for it runs the query.
_OPTION = (
    r"(?:format\s+(?:text|json|yaml|xml)"
    r"|(?:verbose|costs|settings|summary|generic_plan)(?:\s+(?:on|off|true|false))?)"
)
_EXPLAIN = {
    "sqlite": re.compile(
        r"explain\s+(?:query\s+plan\s+)?(?=select\b|with\b|values\b)", re.IGNORECASE
    ),
    "postgres": re.compile(
        rf"explain\s+(?:verbose\s+|\(\s*{_OPTION}(?:\s*,\s*{_OPTION})*\s*\)\s*)?"
        r"(?=select\b|with\b|values\b)",
        re.IGNORECASE,
    ),
}
PRAGMAS = (
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "foreign_key_list",
)
_PRAGMA = re.compile(
    rf"pragma\s+(?:main\.)?(?:{'|'.join(PRAGMAS)})\s*(?:\(\s*(?:\w{{1,128}}|'[\w ]{{1,128}}'|\"[\w ]{{1,128}}\")\s*\))?\s*;?",
    re.IGNORECASE,
)

# A query that the parser does not know in full is refused, so its warning says nothing new.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def check_query(text: str, dialect: str, functions: Iterable[str] = ()) -> str:
    """The query as it may be sent: without a final semicolon.

    ``functions`` are allowed besides the known ones. Raises ToolRefusedError, ToolLimitError, and
    ToolFailedError for what cannot be parsed.
    """
    _check_text(text)
    query = text.strip()
    if dialect == "sqlite" and _PRAGMA.fullmatch(query):
        return query.rstrip("; \n\t")
    body = query
    if match := _EXPLAIN.get(dialect, _NEVER).match(query):
        body = query[match.end() :]
    tokens = _tokens(body, dialect)
    tree = _parse(body, dialect)
    allowed = names.FUNCTIONS.get(dialect, names.COMMON) | {name.casefold() for name in functions}
    _check_tree(tree, dialect, allowed)
    _check_tokens(body, tokens, tree, allowed)
    return query.rstrip("; \n\t")


_NEVER = re.compile(r"(?!)")


def _check_text(text: str) -> None:
    if len(text) > MAX_CHARS:
        raise ToolLimitError(
            f"The query is longer than {MAX_CHARS:,} characters.", data={"limit": MAX_CHARS}
        )
    if not text.strip():
        raise ToolFailedError("The query is empty.")
    if any(ord(sign) < 32 and sign not in "\n\r\t" for sign in text) or "\x7f" in text:
        raise ToolRefusedError("The query holds control characters.")
    if re.search(r"[\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", text):
        raise ToolRefusedError("The query holds characters that cannot be seen.")


def _tokens(query: str, dialect: str) -> list[Token]:
    try:
        tokens = list(sqlglot.tokenize(query, read=dialect))
    except (SqlglotError, RecursionError) as error:
        raise _unreadable(error) from None
    if len(tokens) > _MAX_TOKENS:
        raise ToolLimitError(f"The query has more than {_MAX_TOKENS:,} words.")
    depth = 0
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth > _MAX_DEPTH:
            raise ToolLimitError(f"The query is nested more than {_MAX_DEPTH} levels deep.")
        for comment in token.comments:
            if comment.startswith(("!", "+")) or "/*" in comment:
                raise ToolRefusedError("The query holds a comment with a meaning.")
    return tokens


def _parse(query: str, dialect: str) -> Expr:
    try:
        statements = sqlglot.parse(query, read=dialect)
    except (SqlglotError, RecursionError) as error:
        raise _unreadable(error) from None
    if len(statements) != 1 or statements[0] is None:
        raise ToolRefusedError("Send one statement at a time.")
    return statements[0]


def _check_tree(tree: Expr, dialect: str, allowed: frozenset[str]) -> None:
    if isinstance(tree, exp.Select) and not tree.expressions:
        raise ToolFailedError("The query asks for nothing.")
    if not isinstance(tree, _QUERIES):
        raise ToolRefusedError(f"Only queries are allowed (SELECT), not {tree.key.upper()}.")
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            what = "INTO" if isinstance(node, exp.Into) else node.key.upper()
            raise ToolRefusedError(f"The query may only read: {what} is not allowed.")
        # What stands in quotes is looked at among the tokens: `ALL (...)` is no call, `"all"(...)` is.
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
            _check_function(str(node.name), allowed | names.KEYWORDS)
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            schema = node.this.name.casefold() if node.this else ""
            if schema != "pg_catalog":
                raise ToolRefusedError("Functions of a schema are not allowed.")
        if isinstance(node, exp.Table):
            _check_table(node, dialect)


def _check_table(node: exp.Table, dialect: str) -> None:
    name, schema = node.name.casefold(), str(node.db).casefold()
    private = {
        "postgres": (name.startswith("pg_") and name not in names.POSTGRES_CATALOG)
        or schema in ("pg_toast", "pg_temp"),
        "sqlite": name.startswith("pragma_") or name in names.SQLITE_INTERNAL,
    }
    if private.get(dialect):
        raise ToolRefusedError(f"The table {name[:60]} is the database's own.")


def _check_tokens(query: str, tokens: list[Token], tree: Expr, allowed: frozenset[str]) -> None:
    """Every name before a bracket is a known function, a keyword, a type, or an alias."""
    aliases = {alias.name.casefold() for alias in tree.find_all(exp.TableAlias)}
    windows = {window.name.casefold() for window in tree.find_all(exp.Window)}
    known = names.KEYWORDS | names.TYPES | windows
    for at, (before, token) in enumerate(pairwise(tokens)):
        if token.token_type != TokenType.L_PAREN:
            continue
        quoted = query[before.start] in '"`['
        name = before.text.casefold() if quoted else before.text.casefold().split(" ")[-1]
        if before.token_type == TokenType.STRING or not (quoted or re.match(r"\w", name)):
            continue
        if name in names.FORMATS:
            _check_format(tokens[at + 2 : at + 3])
        if name in names.BOMBS:
            _check_fill(tokens, at + 2)
        elif name not in aliases and (quoted or name not in known):
            _check_function(name, allowed)
    if re.search(r"\bu&['\"]", query, re.IGNORECASE):
        raise ToolRefusedError("Names and texts with escapes of their own are not allowed.")


def _check_function(name: str, allowed: frozenset[str]) -> None:
    if name.casefold() in allowed or name.casefold() in names.BOMBS:
        return
    raise ToolRefusedError(
        f"The function {name[:60]} is not on the list of those that may be called.",
        remedy="A harmless one can be added under tools.sql.functions.",
    )


def _check_fill(tokens: list[Token], at: int) -> None:
    """Functions that make long texts: every number in the call must be written out, and small."""
    depth, numbers = 1, 0
    for token in tokens[at:]:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0:
            break
        number = token.token_type == TokenType.NUMBER
        numbers += number and depth == 1
        large = number and not (token.text.isdecimal() and int(token.text) <= names.MAX_FILL)
        if large or token.token_type in _MULTIPLY or token.text.casefold() in names.BOMBS:
            raise _too_much()
    if numbers != 1:
        raise _too_much()


_MULTIPLY = {TokenType.STAR, TokenType.CARET}


def _check_format(first: list[Token]) -> None:
    """A format is written out, and asks for no widths of five digits or of an argument."""
    if not first or first[0].token_type != TokenType.STRING:
        raise ToolRefusedError("The format must be a written-out text.")
    if re.search(r"\d{5}|\*", first[0].text):
        raise _too_much()


def _too_much() -> ToolRefusedError:
    return ToolRefusedError(
        f"Functions that make long texts take one written-out number of at most {names.MAX_FILL:,}."
    )


def _unreadable(error: Exception) -> ToolFailedError:
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("\n", 1)[0]
    return ToolFailedError("The query cannot be parsed.", data={"quoted": said[:300]})
