"""Gather sentences that people wrote from the source archives of Python packages.

    python training/chat/gather_texts.py --archives FOLDER --out ../work/texts.json.gz

FOLDER has the archives that texts.txt names, as the package index hands them out; each is checked
against its sha256. What comes out are paragraphs, each a list of sentences: from docstrings, and from
pages of documentation in reStructuredText and Markdown. The licences of all of them are permissive.
"""

import argparse
import ast
import gzip
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from data.real_sentences import HELD_OUT, plain_sentences

NAMED = Path(__file__).parent / "texts.txt"
MOST_OF_ONE = 9000  # paragraphs of one package
_SKIPPED = re.compile(
    r"(^|/)(tests?|testing|_?vendor|_vendored|extern|locale|licen[cs]es?|changes?|changelog\S*|news|"
    r"releases?|whatsnew|node_modules|fixtures)(/|$)|licen[cs]e|copying|notice|authors|thanks",
    re.IGNORECASE,
)
_MARKS = [
    (re.compile(r":[a-zA-Z:+-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),
    (re.compile(r"!?\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"``?([^`]+)``?_*"), r"\1"),
    (re.compile(r"\*\*([^*]+)\*\*|\*([^*]+)\*"), r"\1\2"),
]


def _flat(text: str) -> str:
    for pattern, plain in _MARKS:
        text = pattern.sub(plain, text)
    return " ".join(text.split())


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs at the margin, and items of lists without their marks."""
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        first = re.sub(r"^\s{0,3}(?:[-*+]|\d+\.)\s+", "", lines[0]) if lines else ""
        if not first or first[0] in " \t.#>|=~-:+<{}" or first.startswith("```"):
            continue
        yield _flat(" ".join([first, *lines[1:]]))


def _docstrings(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                yield _flat(paragraph)


def paragraphs(archive: Path) -> Iterator[tuple[str, ...]]:
    """All paragraphs of one archive that hold a plain sentence."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            suffix = Path(name).suffix
            if not member.isfile() or suffix not in (".py", ".rst", ".md", ".txt"):
                continue
            if _SKIPPED.search(name) or Path(name).stem in HELD_OUT or member.size > 2_000_000:
                continue
            opened = tar.extractfile(member)
            text = opened.read().decode("utf-8", "replace") if opened else ""
            for block in _docstrings(text) if suffix == ".py" else _blocks(text):
                if "---" not in block and (good := plain_sentences(block)):
                    yield good


def gather(archives: Path, held_back: set[str], named: Path = NAMED) -> list[tuple[str, ...]]:
    """Paragraphs of every named archive, once each, without the sentences of ``held_back``."""
    found: dict[tuple[str, ...], None] = {}
    for line in named.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, wanted, *_ = line.split()
        file = archives / name
        if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            raise SystemExit(f"{name} is not the archive that {named.name} names: another sha256.")
        before = len(found)
        for paragraph in paragraphs(file):
            kept = tuple(s for s in paragraph if s not in held_back)
            if kept:
                found[kept] = None
            if len(found) - before >= MOST_OF_ONE:
                break
        print(f"{name}: {len(found) - before} paragraphs", flush=True)
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--questions",
        type=Path,
        nargs="*",
        default=[Path(__file__).parents[2] / "tests/data/builtin/questions.jsonl"],
        help="what is never to be trained on: files with passages and questions",
    )
    given = parser.parse_args()
    held_back: set[str] = set()
    for file in given.questions:
        for line in file.read_text(encoding="utf-8").splitlines():
            for passage in json.loads(line)["passages"]:
                held_back.update(plain_sentences(" ".join(passage.split())))
    found = gather(given.archives, held_back)
    given.out.write_bytes(gzip.compress(json.dumps(found).encode(), 9, mtime=0))
    print(f"{len(found)} paragraphs, {sum(map(len, found))} sentences")


if __name__ == "__main__":
    main()
