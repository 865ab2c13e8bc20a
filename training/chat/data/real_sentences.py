"""Sentences that people wrote: docstrings of Python's standard library, divided by module."""

import ast
import re
import sysconfig
from functools import lru_cache
from pathlib import Path

from .draw import Side, side_of

_SENTENCE = re.compile(r"(?<=[.!])\s+(?=[A-Z])")
_PLAIN = re.compile(r"[A-Z][^|{}<>]*[a-z)][.]")
WORD = re.compile(r"[A-Za-z][a-z]{3,}")
_COMMON = frozenset(
    """this that with from have will when then they them there their what which where been were
    than only also into some such used uses using each must should would could other more most
    else very just like does done make made over under same both many much time case given return
    returns method function class object none true false value values argument arguments""".split()
)


# The hand-written questions of tests/data/builtin rest on docstrings of these.
HELD_OUT = frozenset(
    """chunk cmd code codeop filecmp fileinput ftplib getopt graphlib imaplib linecache mailcap
    modulefinder pipes plistlib poplib pyclbr quopri rlcompleter sched smtplib tabnanny telnetlib
    timeit venv zipapp zipimport""".split()
)


@lru_cache
def passages(side: Side) -> tuple[tuple[str, ...], ...]:
    """Paragraphs of docstrings, each as its sentences."""
    folder = Path(sysconfig.get_path("stdlib"))
    found: dict[tuple[str, ...], None] = {}
    for file in sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).as_posix()
        skipped = ("test", "site-packages", "idlelib", "lib2to3", "ensurepip", "turtledemo")
        module = name.split("/")[0]
        if any(part in name for part in skipped) or side_of(module) != side:
            continue
        if module.removesuffix(".py") in HELD_OUT:
            continue
        for paragraph in _paragraphs(file):
            found[paragraph] = None
    return tuple(found)


def _paragraphs(file: Path) -> list[tuple[str, ...]]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    found: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        paragraphs = (ast.get_docstring(node) or "").split("\n\n")
        found += [plain_sentences(" ".join(paragraph.split())) for paragraph in paragraphs]
    return [paragraph for paragraph in found if paragraph]


def plain_sentences(text: str) -> tuple[str, ...]:
    """The first sentences of a paragraph that are whole, and neither too short nor too long."""
    good = [s for s in _SENTENCE.split(text) if _PLAIN.fullmatch(s) and 25 < len(s) < 260]
    return tuple(good[:6])


def content(sentence: str) -> list[str]:
    """The words of a sentence that carry its meaning, in order."""
    return [w for w in dict.fromkeys(WORD.findall(sentence)) if w.lower() not in _COMMON]
