"""`nearfar index`, as a user types it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "heron.md").write_text("# Heron\n\nThe heron eats frogs and fish.\n")
    (folder / "owl.txt").write_text("The owl hunts mice at night.")
    return folder


def test_add_list_show_check_and_remove(papers: Path, tmp_path: Path, cli: Cli) -> None:
    (papers / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    (papers / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    added = cli("index", "add", "papers", "--name", "lab", "--json")
    assert added.rc == 0
    assert [Path(path).name for path in added.json["read"]] == ["heron.md", "owl.txt"]
    assert [(Path(f["path"]).name, f["code"]) for f in added.json["failed"]] == [
        ("broken.pdf", "NF-303")
    ]
    assert added.json["failed"][0]["remedy"]
    assert [Path(note["path"]).name for note in added.json["skipped"]] == ["photo.png"]
    listed = cli("index", "list", "--json").json["indexes"]
    assert [(row["name"], row["files"], row["chunks"]) for row in listed] == [("lab", 2, 2)]
    shown = cli("index", "show", "lab", "--json").json
    assert shown["roots"] == [str(papers)]
    assert [(Path(e["path"]).name, bool(e["error"])) for e in shown["entries"]] == [
        *(("broken.pdf", True), ("heron.md", False), ("owl.txt", False))
    ]
    assert cli("index", "check", "lab", "--json").json["ok"] is True
    removed = cli("index", "remove", "lab", "./papers/heron.md", "--json").json
    assert removed == {
        "name": "lab",
        "removed": [str(papers / "heron.md")],
        "index_removed": False,
    }
    assert cli("index", "remove", "lab", "--yes", "--json").json["index_removed"] is True
    assert cli("index", "list", "--json").json == {"indexes": []}


def test_the_report_is_readable_and_a_second_run_says_unchanged(papers: Path, cli: Cli) -> None:
    first = cli("index", "add", "papers", "--name", "lab")
    assert first.rc == 0
    assert first.out.startswith("lab: 2 files read")
    assert first.err == ""
    (papers / "owl.txt").rename(papers / "barn owl.txt")
    second = cli("index", "add", "--name", "lab")
    assert "0 files read, 1 unchanged, 1 moved" in second.out
    assert "Moved: " in second.out
    assert "2 files, 2 passages" in cli("index", "list").out
    assert "heron.md" in cli("index", "show", "lab").out
    assert "whole" in cli("index", "check", "lab").out


def test_the_exit_code_is_1_only_if_nothing_could_be_read(papers: Path, cli: Cli) -> None:
    (papers / "empty.md").touch()
    assert cli("index", "add", "papers", "--name", "lab").rc == 0
    failed = cli("index", "add", "papers/empty.md", "--name", "other")
    assert failed.rc == 1
    assert "NF-305" in failed.out


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("add", "missing", "--name", "lab"), "NF-301"),
        (("add", "nothing", "--name", "lab"), "NF-302"),
        (("add", "papers", "--name", "../lab"), "NF-002"),
        (("add", "papers"), "NF-002"),
        (("add", "--name", "lab"), "NF-310"),
        (("show", "lab"), "NF-310"),
        (("check", "lab"), "NF-310"),
        (("remove", "lab"), "NF-310"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    papers: Path, tmp_path: Path, cli: Cli, args: tuple[str, ...], error: str
) -> None:
    (tmp_path / "nothing").mkdir()
    done = cli("index", *args, "--json")
    assert done.rc == 2
    assert done.json["error"]["code"] == error
    assert done.json["error"]["remedy"]


def test_the_whole_index_is_not_removed_unasked(papers: Path, cli: Cli) -> None:
    cli("index", "add", "papers", "--name", "lab")
    done = cli("index", "remove", "lab")
    assert done.rc == 2
    assert "--yes" in done.err
    assert "lab" in cli("index", "list").out


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C goes to a whole console there")
def test_ctrl_c_ends_with_130_and_no_traceback(papers: Path, tmp_path: Path) -> None:
    for number in range(400):
        (papers / f"note{number}.md").write_text(f"# Note {number}\n\n" + "Many words. " * 300)
    process = subprocess.Popen(
        [sys.executable, "-m", "nearfar.cli.main", "index", "add", "papers", "--name", "lab"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = Path(os.environ["NEARFAR_HOME"]) / "indexes" / "lab" / "manifest.db"
    while process.poll() is None and not store.exists():
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert err.strip() == "Stopped."
