"""Whole-file writes that a crash cannot tear, and locks between processes."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from nearfar.errors import DiskFullError, LockedError, StorageError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_WINDOWS_DISK_FULL = 112  # ERROR_DISK_FULL


def storage_error(error: OSError, path: Path, *, doing: str = "written") -> StorageError:
    """The typed error for an OSError on ``path``; DiskFullError where no space is left."""
    data = {"path": str(path)}
    if error.errno in _FULL or getattr(error, "winerror", None) == _WINDOWS_DISK_FULL:
        return DiskFullError(f"{path} cannot be {doing}: no space is left on its disk.", data=data)
    return StorageError(
        f"{path} cannot be {doing}: {error.strerror or type(error).__name__}.",
        remedy="Check that the folder is there and that you may write to it.",
        data=data,
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into StorageError or DiskFullError about ``path``."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace ``path`` by ``data`` (text as UTF-8); readers see the old file or the new one.

    The bytes are on the disk before the name points to them. The folder is made if it is not there.
    Raises StorageError or DiskFullError; the old file is then unchanged.
    """
    content = data.encode() if isinstance(data, str) else data
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            _write_through(draft, content)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_lock(path: Path, *, timeout_s: float = 0) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes and threads; it ends with the process.

    Not reentrant: a second hold in the same thread waits like any other. The file itself stays.
    Raises LockedError when another still holds it after ``timeout_s`` seconds; a negative time waits
    without end.
    """
    from filelock import FileLock, Timeout

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=timeout_s, is_singleton=False, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise LockedError(
                f"{path} is held by another program.", data={"path": str(path)}
            ) from None
    try:
        yield
    finally:
        lock.release()
