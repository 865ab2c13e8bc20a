"""Runs that are killed or stopped: what they leave behind, and how the next one goes on."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nearfar.retrieval import Index

from .make import pdf_bytes
from .words import WordEmbeddings

ROOT = Path(__file__).parent.parent.parent

# Small batches, and a commit after each, so that a kill finds every kind of moment.
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from nearfar.retrieval import Index, ingest
from tests.retrieval.words import WordEmbeddings
ingest.BATCH, ingest.COMMIT_S = 3, 0.0
def tell(progress):
    print(progress.done, flush=True)
index = Index.open("lab", embeddings=WordEmbeddings(), create=True)
try:
    report = index.add([sys.argv[2]], on_progress=tell)
except KeyboardInterrupt:
    sys.exit(130)
print("read", len(report.read), flush=True)
"""


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    for number in range(40):
        text = "\n\n".join(
            f"# Part {n} of {number}\n\nBird {number} sings song {n}." for n in range(4)
        )
        (folder / f"bird{number:02}.md").write_text(text)
    (folder / "pond.pdf").write_bytes(pdf_bytes(["The pond is shallow."]))
    return folder


def start(papers: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(ROOT), str(papers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


def run_until(papers: Path, lines: int, how: int) -> int:
    """End a run with a signal after so many lines of progress; its exit code."""
    process = start(papers)
    assert process.stdout is not None
    for _ in range(lines):
        if not process.stdout.readline():
            break
    process.send_signal(how)
    process.communicate(timeout=60)
    return process.returncode


def check(papers: Path, before: dict[Path, list[str]] | None = None) -> set[str]:
    """The index is whole, and every passage found is text of its file; the files it knows.

    ``before`` holds what files said earlier: a run that was killed may not have come to them.
    """
    index = Index.open("lab", embeddings=WordEmbeddings(), create=True)
    if not index.exists():
        return set()
    for passage in index.search("bird sings song", k=500):
        if passage.source.endswith(".md"):
            file = Path(passage.source)
            texts = [file.read_text(), *(before or {}).get(file, [])]
            assert passage.text in {text[passage.start : passage.end] for text in texts}
    assert index.check().problems == () or not index.files()
    known = {row.path for row in index.files()}
    index.close()
    return known


def kill_and_go_on(papers: Path, times: int, seed: int) -> None:
    rng = random.Random(seed)
    known: set[str] = set()
    before: dict[Path, list[str]] = {}
    for _ in range(times):
        run_until(papers, rng.randint(1, 60), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        now = check(papers, before)
        assert known <= now
        known = now
        changed = papers / f"bird{rng.randrange(40):02}.md"
        before.setdefault(changed, []).append(changed.read_text())
        changed.write_text(f"# Anew {rng.random()}\n\nBird sings song again.")
    process = start(papers)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "read" in out
    assert len(check(papers)) == 41
    fresh = Index.open("fresh", embeddings=WordEmbeddings(), create=True)
    assert fresh.add([papers]).chunks == Index.open("lab").info().chunks


def test_a_killed_run_leaves_a_whole_index_and_the_next_goes_on(papers: Path) -> None:
    kill_and_go_on(papers, 4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_killed_runs_leave_a_whole_index(papers: Path) -> None:
    kill_and_go_on(papers, 60, seed=1)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C goes to a whole console there")
def test_ctrl_c_keeps_what_is_done(papers: Path) -> None:
    assert run_until(papers, 12, signal.SIGINT) == 130
    known = check(papers)
    assert known
    process = start(papers)
    out, _ = process.communicate(timeout=60)
    assert f"read {41 - len(known)}" in out
