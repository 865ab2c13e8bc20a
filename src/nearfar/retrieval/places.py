"""Where indexes are: their names, their folders, and the lock of each."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from nearfar.errors import IndexLockedError, LockedError, UsageError
from nearfar.settings import home
from nearfar.storage import file_lock

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def check_name(name: str) -> None:
    """Raises UsageError unless a folder may have this name on every system."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"{name!r} cannot be the name of an index.",
            remedy="Use up to 64 letters, digits, dots, dashes and underscores, a letter first.",
            data={"name": name},
        )


def remove_folder(folder: Path) -> None:
    """Take an index's folder away, unless another program writes to it."""
    with writer_lock(folder, wait=False):
        shutil.rmtree(folder)


@contextlib.contextmanager
def writer_lock(folder: Path, *, wait: bool) -> Iterator[None]:
    """Be the one writer of an index over all programs. Raises IndexLockedError, or waits."""
    # Beside the folder, so that it outlives it: a lock in a folder that goes away holds nobody.
    path = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, timeout_s=-1 if wait else 0))
        except LockedError as error:
            raise IndexLockedError(
                f"Another program is writing to the index {folder.name}.",
                data={"path": str(folder)},
            ) from error
        yield


def indexes() -> Path:
    """The folder of the indexes that have names."""
    return home() / "indexes"
