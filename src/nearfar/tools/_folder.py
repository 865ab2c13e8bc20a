"""Opens, lists and replaces files below a root without ever leaving it.

Where the system has ``openat`` every step of a path is opened from the folder before it, and no
link is followed, so nothing that is swapped in between leads elsewhere. Elsewhere (Windows) each
step is looked at, and what was opened is compared with what the path resolves to.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nearfar.errors import ToolFailedError, ToolLimitError, ToolRefusedError

HAS_OPENAT = {os.open, os.stat, os.mkdir, os.unlink, os.rename} <= os.supports_dir_fd

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_PLAIN = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_REPARSE_POINT = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: links and junctions


@dataclass(frozen=True, slots=True)
class Item:
    """One name in a folder."""

    name: str
    kind: str  # "file", "folder", "link" or "other"
    size: int
    changed: float


class Folder:
    """A folder that is open. ``fd`` is its descriptor, or None where there is no ``openat``."""

    def __init__(self, path: Path, root: Path, fd: int | None) -> None:
        self._path = path
        self._root = root
        self._fd = fd

    @classmethod
    @contextlib.contextmanager
    def at(
        cls, root: Path, parts: Sequence[str], *, make: bool = False, openat: bool = HAS_OPENAT
    ) -> Iterator["Folder"]:
        """The folder ``parts`` below ``root``; with ``make``, missing ones are made."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(_closing(cls._open_root(root, openat=openat)))
            for part in parts:
                folder = stack.enter_context(_closing(folder.enter(part, make=make)))
            yield folder

    @classmethod
    def _open_root(cls, root: Path, *, openat: bool) -> "Folder":
        if not openat:
            if not root.is_dir():
                raise _missing("The folder")
            return cls(root, root, None)
        with explained("The folder"):
            return cls(root, root, os.open(root, os.O_RDONLY | _DIRECTORY | _NO_FOLLOW | _PLAIN))

    def enter(self, name: str, *, make: bool = False) -> "Folder":
        """The folder of that name, made first where ``make`` says so; the caller closes it."""
        with explained("The folder"):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._name(name), 0o777, dir_fd=self._fd)
            self._refuse_link(name)
            if self._fd is None:
                inner = self._path / name
                if not inner.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "not a folder")
                self._refuse_outside(inner)
                return Folder(inner, self._root, None)
            flags = os.O_RDONLY | _DIRECTORY | _NO_FOLLOW | _PLAIN
            return Folder(self._path / name, self._root, os.open(name, flags, dir_fd=self._fd))

    def close(self) -> None:
        """Let the descriptor go."""
        if self._fd is not None:
            os.close(self._fd)

    def read(self, name: str, limit: int) -> bytes:
        """The content of a plain file of at most ``limit`` bytes."""
        with contextlib.ExitStack() as stack, explained("The file"):
            self._refuse_link(name)
            flags = os.O_RDONLY | _NO_FOLLOW | _PLAIN
            descriptor = os.open(self._name(name), flags, dir_fd=self._fd)
            stack.callback(os.close, descriptor)
            found = os.fstat(descriptor)
            self._check_plain(found)
            if self._fd is None:
                self._refuse_outside(self._path / name, found)
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        if len(content) > limit:
            raise ToolLimitError(f"The file is larger than {limit:,} bytes.", data={"limit": limit})
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace the file, or make it: readers see the old or the new one, never a part."""
        with explained("The file"):
            mode = self._mode_of(name)
            draft = f".nearfar-{secrets.token_hex(8)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _PLAIN
            descriptor = os.open(self._name(draft), flags, mode or 0o666, dir_fd=self._fd)
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
                    if self._fd is None:
                        self._refuse_outside(self._path / draft, os.fstat(descriptor))
                    elif mode is not None:
                        os.fchmod(descriptor, mode)
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                self._mode_of(name)  # what is replaced is still a plain file, or nothing
                os.replace(
                    self._name(draft), self._name(name), src_dir_fd=self._fd, dst_dir_fd=self._fd
                )
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(self._name(draft), dir_fd=self._fd)
                raise
            if self._fd is not None:
                os.fsync(self._fd)

    def items(self) -> Iterator[Item]:
        """What is in the folder, by name; links are not followed."""
        with explained("The folder"):
            names = sorted(os.listdir(self._path if self._fd is None else self._fd))  # noqa: PTH208  # a descriptor
        for name in names:
            try:
                found = self._stat(name)
            except OSError:  # gone in the meantime
                continue
            yield Item(name, _kind(found), found.st_size, found.st_mtime)

    def _mode_of(self, name: str) -> int | None:
        """The permissions of the file that is there; None when there is none."""
        try:
            found = self._stat(name)
        except FileNotFoundError:
            return None
        self._check_plain(found)
        return stat.S_IMODE(found.st_mode) & 0o777

    def _check_plain(self, found: os.stat_result) -> None:
        kind = _kind(found)
        if kind == "link":
            raise _link()
        if kind == "folder":
            raise ToolFailedError("That is a folder, not a file.")
        if kind != "file":
            raise ToolRefusedError("Only plain files can be used, not devices or pipes.")
        if found.st_nlink > 1:
            raise ToolRefusedError(
                "The file has a second name (a hard link), which may lie outside of the folder."
            )

    def _refuse_link(self, name: str) -> None:
        if _kind(self._stat(name)) == "link":
            raise _link()

    def _refuse_outside(self, path: Path, opened: os.stat_result | None = None) -> None:
        """Without ``openat``: what the path leads to now is inside, and is what was opened."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._root):
            raise _link()
        if opened is not None and not os.path.samestat(opened, os.stat(real)):  # noqa: PTH116  # as opened
            raise ToolRefusedError("The file was exchanged while it was opened.")

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(self._name(name), dir_fd=self._fd, follow_symlinks=False)

    def _name(self, name: str) -> str:
        return name if self._fd is not None else str(self._path / name)


@contextlib.contextmanager
def _closing(folder: Folder) -> Iterator[Folder]:
    try:
        yield folder
    finally:
        folder.close()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an OSError into a message; the system's own text names no path."""
    try:
        yield
    except FileNotFoundError:
        raise _missing(what) from None
    except (NotADirectoryError, IsADirectoryError):
        raise ToolFailedError("A part of the path is not a folder, or the path is one.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link() from None
        raise ToolFailedError(f"{what} cannot be used: {error.strerror or 'error'}.") from None


def _kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode) or getattr(found, "st_file_attributes", 0) & _REPARSE_POINT:
        return "link"
    if stat.S_ISREG(found.st_mode):
        return "file"
    return "folder" if stat.S_ISDIR(found.st_mode) else "other"


def _link() -> ToolRefusedError:
    return ToolRefusedError("The path leads over a link, and links are not followed.")


def _missing(what: str) -> ToolFailedError:
    return ToolFailedError(
        f"{what} is not there.", remedy="`files_list` shows what is.", data={"missing": True}
    )
