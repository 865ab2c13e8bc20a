"""Atomic writes and locks, with real files and real processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nearfar.errors import DiskFullError, LockedError, StorageError
from nearfar.storage import atomic_write, file_lock, writing

HOLDER = """
import sys
from pathlib import Path
from nearfar.storage import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
READER = """
import sys
from pathlib import Path
file = Path(sys.argv[1])
seen = set()
while file.exists():
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        break
    seen.add((len(text), len(set(text))))
    if not sys.stdin.isatty() and len(seen) == 1:
        print("reading", flush=True)
print(sorted(seen))
"""


def start(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class TestAtomicWrite:
    def test_it_makes_the_folder_and_the_file(self, tmp_path: Path) -> None:
        atomic_write(tmp_path / "a" / "b.txt", "grün")
        assert (tmp_path / "a" / "b.txt").read_bytes() == "grün".encode()

    def test_it_replaces_and_leaves_nothing_beside(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        atomic_write(file, b"one")
        atomic_write(file, b"two")
        assert file.read_bytes() == b"two"
        assert list(tmp_path.iterdir()) == [file]

    def test_another_process_never_sees_half_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        atomic_write(file, b"a" * 100_000)
        with start(READER, str(file)) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            for letter in b"bcdefghijklmnop" * 4:
                atomic_write(file, bytes([letter]) * 100_000)
            file.unlink()
            last = reader.stdout.read().splitlines()[-1]
        assert last == "[(100000, 1)]"

    def test_a_full_disk_is_a_typed_error_and_the_old_file_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "f"
        atomic_write(file, b"old")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="no space is left") as caught:
            atomic_write(file, b"new")
        assert caught.value.data["path"] == str(file)
        assert file.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
    def test_a_device_without_space_gives_the_same_error(self) -> None:
        with (
            pytest.raises(DiskFullError),
            writing(Path("/dev/full")),
            Path("/dev/full").open("wb", buffering=0) as file,
        ):
            file.write(b"x")

    def test_a_folder_in_the_place_of_the_file_is_a_storage_error(self, tmp_path: Path) -> None:
        (tmp_path / "f" / "x").mkdir(parents=True)
        with pytest.raises(StorageError, match="cannot be written"):
            atomic_write(tmp_path / "f", b"x")
        assert [p.name for p in tmp_path.iterdir()] == ["f"]

    def test_a_file_in_the_place_of_the_folder_is_a_storage_error(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"x")
        with pytest.raises(StorageError, match="cannot be written"):
            atomic_write(tmp_path / "f" / "g", b"x")


class TestFileLock:
    def test_another_process_is_kept_out_until_it_is_released(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "lock"
        with start(HOLDER, str(path)) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(LockedError) as caught, file_lock(path):
                pass
            assert caught.value.data == {"path": str(path)}
            holder.stdin.close()
            with file_lock(path, timeout_s=30):
                pass
            holder.wait(timeout=30)

    def test_a_killed_process_gives_its_lock_back(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with start(HOLDER, str(path)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.kill()
            holder.wait(timeout=30)
        with file_lock(path, timeout_s=30):
            pass

    def test_it_is_held_against_the_same_process_too(self, tmp_path: Path) -> None:
        with file_lock(tmp_path / "lock"):
            with pytest.raises(LockedError), file_lock(tmp_path / "lock"):
                pass
            with file_lock(tmp_path / "another"):
                pass

    def test_an_error_inside_releases_it_and_comes_out_unchanged(self, tmp_path: Path) -> None:
        def fail() -> None:
            with file_lock(tmp_path / "lock"):
                raise FileNotFoundError("mine")

        with pytest.raises(FileNotFoundError, match="mine"):
            fail()
        with file_lock(tmp_path / "lock"):
            pass

    def test_a_place_that_cannot_be_written_is_a_storage_error(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"x")
        with pytest.raises(StorageError), file_lock(tmp_path / "f" / "lock"):
            pass
