"""The files of the built-in models against their checksums."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from .report import Check

MANIFEST = "SHA256SUMS"
_REINSTALL = "Install again: pip install --force-reinstall --no-deps nearfar."


def builtin_folder() -> Path:
    """Where the models lie that come with the package."""
    import nearfar.llm

    return Path(nearfar.llm.__file__).parent / "assets"


def check_assets(root: Path | None = None) -> Iterator[Check]:
    """One check for each folder of ``root`` (the built-in models)."""
    root = builtin_folder() if root is None else root
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not folders:
        yield Check("files", False, f"no built-in model under {root}", _REINSTALL)
    for folder in folders:
        problems = _problems(folder)
        name = f"files {folder.name}"
        if problems:
            yield Check(name, False, f"{'; '.join(problems)} (in {folder})", _REINSTALL)
        else:
            yield Check(name, True, "checksums match")


def _problems(folder: Path) -> list[str]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return [f"{MANIFEST} is missing"]
    problems = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif sha256(file) != digest:
            problems.append(f"{name} is not the file that was shipped")
    return problems


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
