"""Which files stand under the paths that someone names."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nearfar.errors import DocumentError, DocumentNotFoundError, UnreadableDocumentError

from .readers import format_of_name

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})
_ENVIRONMENT = "pyvenv.cfg"  # stands in every Python environment


@dataclass(frozen=True, slots=True)
class Found:
    """A file that can be read, with what tells whether it has changed."""

    path: str  # absolute; links are not resolved, so it is the name the user knows
    root: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """What was found, what was passed over and why, and what could not be looked at."""

    roots: list[str] = field(default_factory=list)
    files: list[Found] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, DocumentError]] = field(default_factory=list)


def absolute(path: str | Path) -> str:
    """The path as indexes keep it."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - Path.absolute keeps ".."


def scan(paths: Sequence[str | Path], *, exclude: Sequence[str] = ()) -> Scan:
    """All files under ``paths``, sorted; each file once.

    A file that is named itself is always taken. In folders, files of a known kind are taken; hidden
    files and folders, ``node_modules``, Python environments and what matches a pattern of
    ``exclude`` are not looked at. Links to folders are not followed inside a folder, so a loop
    cannot occur; they are listed as skipped. Raises DocumentNotFoundError, before anything else is
    done, where a path does not exist.
    """
    result = Scan()
    for path in map(absolute, paths):
        if not os.path.lexists(path):
            raise DocumentNotFoundError(f"{path} does not exist.", data={"path": path})
        if path not in result.roots:
            result.roots.append(path)
    seen: set[str] = set()
    for root in result.roots:
        if Path(root).is_dir():
            walk = _walk(root, root, exclude, result)
        else:
            walk = filter(None, [_file(root, root, result)])
        for found in walk:
            if found.path not in seen:
                seen.add(found.path)
                result.files.append(found)
    result.files.sort(key=lambda found: found.path)
    return result


def under(path: str, root: str) -> bool:
    """Whether ``path`` is ``root`` or stands in it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _walk(folder: str, root: str, exclude: Sequence[str], result: Scan) -> Iterator[Found]:
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            result.failed.append((here, _unreadable(here, error)))
            continue
        if here != root and any(entry.name == _ENVIRONMENT for entry in listed):
            continue
        for entry in listed:
            if _hidden(entry.name) or _excluded(entry.path, root, exclude):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_FOLDERS:
                    folders.append(entry.path)
            elif (found := _entry(entry, root, result)) is not None:
                yield found


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$"))  # the latter: Word's marks of open files


def _excluded(path: str, root: str, exclude: Sequence[str]) -> bool:
    relative = Path(path).relative_to(root).as_posix()
    name = relative.rpartition("/")[2]
    return any(
        fnmatch.fnmatch(relative, pattern.rstrip("/")) or fnmatch.fnmatch(name, pattern.rstrip("/"))
        for pattern in exclude
    )


def _entry(entry: os.DirEntry[str], root: str, result: Scan) -> Found | None:
    if entry.is_symlink() and not entry.is_file():
        why = "a link to a folder" if entry.is_dir() else "a link that leads nowhere"
        result.skipped.append((entry.path, why))
        return None
    if not entry.is_file():
        return None  # a socket, a pipe, a device
    if format_of_name(Path(entry.name)) is None:
        result.skipped.append((entry.path, "not a kind of document that can be read"))
        return None
    return _file(entry.path, root, result)


def _file(path: str, root: str, result: Scan) -> Found | None:
    try:
        stat = Path(path).stat()
    except OSError as error:
        result.failed.append((path, _unreadable(path, error)))
        return None
    return Found(path, root, stat.st_size, stat.st_mtime_ns)


def _unreadable(path: str, error: OSError) -> DocumentError:
    why = error.strerror or type(error).__name__
    return UnreadableDocumentError(
        f"{path} could not be opened: {why}.",
        remedy="Check the permissions.",
        data={"path": path, "errno": error.errno},
    )
