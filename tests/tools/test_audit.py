"""Lines are whole, whoever writes at the same time; old files are put aside."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nearfar.settings import AuditSettings
from nearfar.tools.audit import Entry, digest, record

WRITER = """
import sys
from nearfar.settings import AuditSettings
from nearfar.tools.audit import Entry, record
for n in range(100):
    record(Entry(f"{sys.argv[1]}-{n}", {"x": "y" * 500}, "ok", 1.0), AuditSettings())
"""


def lines(path: Path) -> list[str]:
    return [json.loads(line)["tool"] for line in path.read_text().splitlines()]


def test_several_programs_write_whole_lines(home_folder: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in "abc"]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    found = lines(home_folder / "audit.jsonl")
    assert sorted(found) == sorted(f"{name}-{n}" for name in "abc" for n in range(100))


def test_a_full_file_is_put_aside_and_the_oldest_goes(home_folder: Path) -> None:
    settings = AuditSettings(max_mb=600 / 1024**2, keep=2)
    for n in range(12):
        record(Entry(f"t{n}", {}, "ok", 1.0), settings)
    names = sorted(path.name for path in home_folder.glob("audit*.jsonl"))
    assert names == ["audit.1.jsonl", "audit.2.jsonl", "audit.jsonl"]
    kept = [lines(home_folder / name) for name in ("audit.2.jsonl", "audit.1.jsonl", "audit.jsonl")]
    assert sum(kept, []) == [f"t{n}" for n in range(12 - sum(map(len, kept)), 12)]  # noqa: RUF017  # three short lists


def test_a_line_after_a_torn_one_is_whole(home_folder: Path) -> None:
    (home_folder / "audit.jsonl").write_text('{"tool": "torn')
    record(Entry("next", {}, "ok", 1.0), AuditSettings())
    assert json.loads((home_folder / "audit.jsonl").read_text().splitlines()[1])["tool"] == "next"


def test_the_digest_does_not_depend_on_the_order() -> None:
    assert digest({"a": 1, "b": "x"}) == digest({"b": "x", "a": 1}) != digest({"a": 1})
    assert len(digest({1: object})) == 64


def test_the_time_is_utc(home_folder: Path) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    record(Entry("t", {}, "ok", 1.0), AuditSettings(), now=now)
    line = json.loads((home_folder / "audit.jsonl").read_text())
    assert line["time"] == "2026-01-02T03:04:05.000+00:00"


def test_a_disk_that_cannot_be_written_is_logged(
    home_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home_folder / "audit.jsonl").mkdir()
    record(Entry("t", {}, "ok", 1.0), AuditSettings())
    assert "was not recorded" in caplog.text
