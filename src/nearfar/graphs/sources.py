"""What a review looks at: the files of a folder, or the changed lines of a unified diff."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import TypedDict

from nearfar.errors import UsageError

MAX_FILES = 400
MAX_FILE_BYTES = 400_000
MAX_TOTAL_BYTES = 4_000_000

_CODE = {
    ".bash", ".c", ".cc", ".cpp", ".cs", ".go", ".h", ".hpp", ".java", ".js", ".jsx", ".kt", ".lua",
    ".m", ".mjs", ".php", ".pl", ".ps1", ".py", ".pyi", ".r", ".rb", ".rs", ".scala", ".sh", ".sql",
    ".swift", ".ts", ".tsx", ".vue",
}  # fmt: skip
_SKIPPED = {"__pycache__", "build", "dist", "node_modules", "site-packages", "target", "venv"}
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")


class Source(TypedDict):
    """A file as it is reviewed. ``lines`` has every line; of a diff's own, what is not shown is empty."""

    file: str
    lines: list[str]
    changed: list[int] | None  # lines that the diff adds, from 1; None: all
    whole: bool


def collect(path: str | None, diff: str | None) -> tuple[list[Source], list[str]]:
    """The sources, and what was left out. Raises UsageError where there is nothing to review.

    With both, the diff's files are read under ``path``; those that are not there, from the diff.
    """
    left_out: list[str] = []
    if diff:
        text = _diff_text(diff)
        sources = list(_from_diff(text, Path(path).expanduser() if path else None))
    elif path:
        sources = list(_from_path(Path(path).expanduser(), left_out))
    else:
        raise UsageError("Nothing says what to review.", remedy="Name --path or --diff.")
    if not sources:
        raise UsageError(
            "There is no code to review.",
            remedy="Name a file or folder with code, or a unified diff (git diff).",
            data={"left_out": left_out},
        )
    return sources, left_out


def _from_path(path: Path, left_out: list[str]) -> Iterator[Source]:
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}.", remedy="Check the path.")
    files = [path] if path.is_file() else list(_walk(path))
    total = 0
    for place, file in enumerate(files):
        size = file.stat().st_size
        total += size
        if place >= MAX_FILES or size > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES:
            left_out.append(f"{file}: too large, or too many files before it")
            continue
        text = _text(file)
        if text is None:
            left_out.append(f"{file}: no UTF-8 text")
        elif text.strip():
            yield Source(file=str(file), lines=text.splitlines(), changed=None, whole=True)


def _walk(folder: Path) -> Iterator[Path]:
    """Code files below, in order; links are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in _SKIPPED and not n.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if file.suffix.lower() in _CODE and not file.is_symlink():
                yield file


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None


def _diff_text(diff: str) -> str:
    """A diff may be given as its text or as the path of a file."""
    if "\n" in diff:
        return diff
    file = Path(diff).expanduser()
    if not file.is_file():
        raise UsageError(f"There is no file {diff}.", remedy="Give the path of a unified diff.")
    text = _text(file)
    if text is None:
        raise UsageError(f"{diff} is not UTF-8 text.", remedy="Give the path of a unified diff.")
    return text


def _from_diff(text: str, root: Path | None) -> Iterator[Source]:
    for name, shown, added in _files_of(text):
        whole = _under(root, name) if root else None
        if whole is not None and all(n <= len(whole) and whole[n - 1] == shown[n] for n in added):
            file = str(root / name) if root else name
            yield Source(file=file, lines=whole, changed=added, whole=True)
        elif shown:
            lines = [shown.get(n, "") for n in range(1, max(shown) + 1)]
            yield Source(file=name, lines=lines, changed=added, whole=False)


def _under(root: Path, name: str) -> list[str] | None:
    """The file of a diff, if it really lies under the root."""
    file = (root / name).resolve()
    if not file.is_relative_to(root.resolve()) or not file.is_file():
        return None
    text = _text(file) if file.stat().st_size <= MAX_FILE_BYTES else None
    return None if text is None else text.splitlines()


def _files_of(text: str) -> Iterator[tuple[str, dict[int, str], list[int]]]:
    """Name, lines that are shown by number in the new file, and those that are added."""
    name, shown, added = "", dict[int, str](), list[int]()
    number = left = 0
    for line in text.splitlines():
        if left <= 0 and line.startswith("+++ "):
            if name and shown:
                yield name, shown, added
            name, shown, added = _new_name(line), {}, []
            continue
        hunk = _HUNK.match(line)
        if hunk:
            number, left = int(hunk.group(1)), int(hunk.group(2) or 1)
            continue
        if left <= 0 or not name or line.startswith(("-", "\\")):
            continue
        if line.startswith("+"):
            added.append(number)
        shown[number] = line[1:]
        number, left = number + 1, left - 1
    if name and shown:
        yield name, shown, added


def _new_name(line: str) -> str:
    name = line[4:].partition("\t")[0].strip().strip('"')
    return "" if name == "/dev/null" else name.removeprefix("b/")
