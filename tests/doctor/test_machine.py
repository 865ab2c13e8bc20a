"""What doctor says about the machine and the installed packages."""

from pathlib import Path

import pytest

from nearfar.doctor import machine
from nearfar.settings import Settings, home

GOOD = {"onnxruntime": "1.31.1", "onnxruntime-genai": "0.18.0"}


def needs_131(package: str) -> list[str]:
    return ["numpy>=1.21.6", "onnxruntime>=1.31.0"]


def test_this_environment_passes() -> None:
    checks = [
        *machine.check_platform(),
        *machine.check_python(),
        *machine.check_wheels(),
        *machine.check_home(),
        *machine.check_database(Settings()),
        *machine.check_disk(),
        *machine.check_memory(),
    ]
    assert [check for check in checks if not check.ok] == []
    assert len({check.name for check in checks}) == 7


@pytest.mark.parametrize(
    ("version", "maxsize"), [((3, 10), 2**63), ((3, 14), 2**63), ((3, 12), 2**31)]
)
def test_a_python_that_is_not_supported_is_named(version: tuple[int, int], maxsize: int) -> None:
    (check,) = machine.check_python(version, maxsize)
    assert not check.ok
    assert "64-bit Python 3.11" in check.remedy


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({**GOOD, "onnxruntime-directml": "1.24.4"}, "onnxruntime and onnxruntime-directml"),
        ({**GOOD, "onnxruntime-genai-cuda": "0.18.0"}, "onnxruntime-genai-cuda overwrite"),
        ({"onnxruntime": "1.31.1"}, "onnxruntime-genai is missing"),
        ({}, "none installed: onnxruntime is missing"),
        ({**GOOD, "onnxruntime": "1.24.4"}, "0.18.0 needs onnxruntime>=1.31.0"),
    ],
)
def test_packages_that_do_not_go_together_are_named(versions: dict[str, str], said: str) -> None:
    (check,) = machine.check_wheels(versions, needs_131)
    assert not check.ok
    assert said in check.detail
    assert "pip" in check.remedy


@pytest.mark.parametrize(
    ("versions", "line"),
    [
        (GOOD, "onnxruntime>=1.31.0"),
        ({"onnxruntime": "1.24.4", "onnxruntime-genai": "0.13.1"}, "onnxruntime>=1.24.4"),
        (
            {"onnxruntime-directml": "1.24.4", "onnxruntime-genai-directml": "0.13.1"},
            "onnxruntime-directml>=1.24.4",
        ),
    ],
)
def test_pairs_that_belong_together_pass(versions: dict[str, str], line: str) -> None:
    (check,) = machine.check_wheels(versions, lambda package: [line])
    assert check.ok


def test_the_home_check_leaves_nothing_behind() -> None:
    before = set(home().iterdir())
    list(machine.check_home())
    assert set(home().iterdir()) == before


def test_a_damaged_database_is_found() -> None:
    from nearfar import storage

    path = storage.database_path(Settings())
    connection = storage.connect(path)
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[5000:20000] = b"\xff" * 15000
    path.write_bytes(content)
    (check,) = machine.check_database(Settings())
    assert not check.ok
    assert str(path) in check.detail


def test_a_full_disk_and_little_memory_fail_with_a_remedy() -> None:
    def nothing(folder: Path) -> int:
        return 0

    (disk,) = machine.check_disk(nothing)
    (memory,) = machine.check_memory(lambda: 0)
    assert not disk.ok
    assert "NEARFAR_HOME" in disk.remedy
    assert not memory.ok
    assert memory.remedy
