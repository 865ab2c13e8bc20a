"""Reads the paths that models give: relative, plain, and the same on every system."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nearfar.errors import ConfigurationError, ToolRefusedError

_MAX_CHARS = 1024
_MAX_PARTS = 64
_MAX_NAME_BYTES = 255
# Names that Windows gives to devices, with whatever ending.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\..*)?",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"%(?:25)*(?:2e|2f|5c|00|3a)", re.IGNORECASE)
# `%TEMP%` and `${HOME}` are something else to a shell, and `LONGNA~1.TXT` to Windows: another file.
_EXPANDED = re.compile(r"%\w+%|\$\{")
_SHORT = re.compile(r"[^.~]{1,6}~[0-9]{1,2}(?:\.[^.]{0,3})?")
# Fraction slash, division slash, reverse solidus operators, box drawing and the like.
_LIKE_SLASHES = set(
    "\u2044\u2215\u2216\u2571\u2572\u27cb\u27cd\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c"
)
_FORBIDDEN = set('\\:*?"<>|')


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that the tools may work in."""

    name: str
    folder: Path  # resolved
    spellings: tuple[str, ...]  # how an absolute path into it may begin, with forward slashes


@dataclass(frozen=True, slots=True)
class Place:
    """A path, understood: the parts below a root. No part is special in any way."""

    root: Root
    parts: tuple[str, ...]
    shown: str  # what people and rules see


def roots_of(folders: Sequence[str | Path]) -> list[Root]:
    """The configured folders. Raises ConfigurationError where two have the same name."""
    found: dict[str, Root] = {}
    for given in folders:
        folder = Path(given).expanduser().absolute()
        resolved = folder.resolve()
        name = folder.name or "root"
        if name in found:
            raise ConfigurationError(
                f"Two folders of tools.files.roots are called '{name}'.",
                remedy="Paths name the root by its last part, so these must differ.",
                data={"name": name},
            )
        spellings = tuple(dict.fromkeys((folder.as_posix(), resolved.as_posix())))
        found[name] = Root(name, resolved, spellings)
    return list(found.values())


def place(path: str, roots: Sequence[Root]) -> Place:
    """What ``path`` means. With several roots its first part is the root's name.

    Raises ToolRefusedError for a path that leaves the roots or is not plain.
    """
    root, rest = _split_root(path, roots)
    parts = tuple(part for part in rest.split("/") if part not in ("", "."))
    if len(parts) > _MAX_PARTS:
        raise _refused("has too many parts")
    for part in parts:
        _check_name(part)
    if root is None:
        if not parts:
            raise _refused(f"must begin with one of: {', '.join(one.name for one in roots)}")
        named = [one for one in roots if one.name == parts[0]]
        if not named:
            raise _refused(f"must begin with one of: {', '.join(one.name for one in roots)}")
        root, parts = named[0], parts[1:]
    shown = "/".join(parts) if len(roots) == 1 else "/".join((root.name, *parts))
    return Place(root, parts, shown or ".")


def _split_root(path: str, roots: Sequence[Root]) -> tuple[Root | None, str]:
    if len(path) > _MAX_CHARS:
        raise _refused(f"is longer than {_MAX_CHARS:,} characters")
    for root in roots:
        for spelling in root.spellings:
            if path == spelling or path.startswith(spelling.rstrip("/") + "/"):
                return root, path[len(spelling) :]
    if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path):
        raise _refused("is outside of the folders that may be used; give it relative to them")
    return (roots[0] if len(roots) == 1 else None), path


def _check_name(name: str) -> None:
    """Refuse what some system, or some reader, takes for more than a name."""
    plain = unicodedata.normalize("NFKC", name)
    if plain.strip(" ") == "." or plain.lstrip(" ").startswith(".."):
        raise _refused("must not contain '..'")
    if "/" in plain or set(plain) & _FORBIDDEN or set(name) & (_FORBIDDEN | _LIKE_SLASHES):
        raise _refused('may hold no \\ : * ? " < > | and no look-alikes of / in a name')
    if any(unicodedata.category(sign) in _UNSEEN for sign in name):
        raise _refused("holds characters that cannot be seen")
    if _ENCODED.search(name):
        raise _refused("must not be percent-encoded")
    if _EXPANDED.search(plain) or _SHORT.fullmatch(plain):
        raise _refused("has a name that a shell or Windows takes for another one")
    if plain != plain.rstrip(". ") or plain != plain.lstrip():
        raise _refused("has a name that begins with a space or ends with a dot or a space")
    if name.startswith("~"):
        raise _refused("has a name that begins with ~")
    if _DEVICE.fullmatch(plain):
        raise _refused("has a name that is a device on Windows")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise _refused(f"has a name of more than {_MAX_NAME_BYTES} bytes")


_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _refused(why: str) -> ToolRefusedError:
    return ToolRefusedError(f"The path was refused: it {why}.")
