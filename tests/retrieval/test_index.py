"""Indexes: what a run does to them, and what searches find."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nearfar.errors import (
    DiskFullError,
    DocumentNotFoundError,
    EmbedderMismatchError,
    EncryptedDocumentError,
    IndexLockedError,
    IndexNotFoundError,
    NoDocumentsError,
    UsageError,
)
from nearfar.retrieval import Index
from nearfar.retrieval.cache import evict
from nearfar.settings import RetrievalSettings, Settings, home

from .make import locked_pdf, pdf_bytes
from .words import WordEmbeddings


@pytest.fixture
def words() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    (folder / "birds").mkdir(parents=True)
    (folder / "heron.md").write_text("# Heron\n\nThe heron eats frogs and fish.\n")
    (folder / "birds" / "owl.txt").write_text("The owl hunts mice at night.")
    (folder / "pond.pdf").write_bytes(pdf_bytes(["The pond is shallow.", "Carp live in the pond."]))
    return folder


Open = Callable[..., Index]


@pytest.fixture
def lab(words: WordEmbeddings) -> Open:
    def open_(name: str = "lab", **settings: object) -> Index:
        retrieval = RetrievalSettings.model_validate(settings)
        return Index.open(
            name, settings=Settings(retrieval=retrieval), embeddings=words, create=True
        )

    return open_


def age(*paths: Path) -> None:
    """Make files older than any clock's resolution, as most files are."""
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            os.utime(file, (1_600_000_000, 1_600_000_000))


def names(paths: list[str]) -> list[str]:
    return sorted(Path(path).name for path in paths)


def test_passages_say_where_they_stand(papers: Path, lab: Open) -> None:
    index = lab()
    report = index.add([papers])
    assert names(report.read) == ["heron.md", "owl.txt", "pond.pdf"]
    assert report.failed == []
    assert report.chunks == report.embedded == 4
    best = index.search("Which birds eat frogs?")[0]
    assert best.source == str(papers / "heron.md")
    assert best.heading == "Heron"
    assert (papers / "heron.md").read_text()[best.start : best.end] == best.text
    carp = index.search("Where do carp live?", k=1)
    assert [(p.source, p.page) for p in carp] == [(str(papers / "pond.pdf"), 2)]
    assert carp[0].dense_score is not None


def test_a_second_run_reads_only_what_changed(
    papers: Path, lab: Open, words: WordEmbeddings
) -> None:
    index = lab()
    index.add([papers])
    age(papers)
    index.add([papers])
    words.texts.clear()
    report = index.add([papers])
    assert names(report.unchanged) == ["heron.md", "owl.txt", "pond.pdf"]
    assert not report.changed
    (papers / "heron.md").write_text("# Heron\n\nThe heron also eats snakes.\n")
    (papers / "birds" / "wren.md").write_text("The wren is small.")
    (papers / "birds" / "owl.txt").unlink()
    report = index.add([papers])
    assert names(report.read) == ["heron.md", "wren.md"]
    assert names(report.deleted) == ["owl.txt"]
    assert len(words.texts) == 2
    assert "frogs" not in " ".join(p.text for p in index.search("heron eats frogs", k=10))
    assert names([p.source for p in index.search("owl mice night", k=10)]) == [
        *("heron.md", "pond.pdf", "pond.pdf", "wren.md")
    ]


def test_a_file_changed_within_the_clock_tick_is_noticed(papers: Path, lab: Open) -> None:
    """Same size, same time: only the content tells."""
    index = lab()
    path = papers / "heron.md"
    stat = path.stat()
    index.add([papers])
    path.write_text(path.read_text().replace("frogs", "toads"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert names(index.add([papers]).read) == ["heron.md"]


def test_a_moved_file_is_not_embedded_again(papers: Path, lab: Open, words: WordEmbeddings) -> None:
    index = lab()
    index.add([papers])
    words.texts.clear()
    (papers / "heron.md").rename(papers / "birds" / "grey.md")
    report = index.add([papers])
    assert [(Path(n.path).name, Path(n.text).name) for n in report.moved] == [
        ("grey.md", "heron.md")
    ]
    assert report.deleted == []
    assert words.texts == []
    assert index.search("heron frogs", k=1)[0].source == str(papers / "birds" / "grey.md")


def test_the_same_content_twice_is_embedded_once_and_both_places_are_known(
    papers: Path, lab: Open, words: WordEmbeddings
) -> None:
    shutil.copy(papers / "heron.md", papers / "copy.md")
    index = lab()
    report = index.add([papers])
    assert [(Path(n.path).name, Path(n.text).name) for n in report.duplicates] == [
        ("heron.md", "copy.md")
    ]
    assert sum("heron" in text for text in words.texts) == 1
    found = index.search("heron frogs", k=1)[0]
    assert (found.source, found.also_in) == (
        str(papers / "copy.md"),
        (str(papers / "heron.md"),),
    )
    (papers / "copy.md").unlink()
    words.texts.clear()
    index.add([papers])
    assert words.texts == []
    found = index.search("heron frogs", k=1)[0]
    assert (found.source, found.also_in) == (str(papers / "heron.md"), ())


def test_a_file_that_fails_is_reported_and_the_rest_is_read(papers: Path, lab: Open) -> None:
    (papers / "locked.pdf").write_bytes(locked_pdf(["x"], user="u", owner="o"))
    (papers / "broken.docx").write_bytes(b"PK\x03\x04")
    (papers / "empty.md").touch()
    (papers / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (papers / "big.txt").write_text("x" * 70_000)
    age(papers)
    index = lab(max_file_mb=0.05)
    for _run in range(2):
        report = index.add([papers])
        assert sorted((Path(f.path).name, f.error.code) for f in report.failed) == [
            ("big.txt", "NF-306"),
            ("broken.docx", "NF-303"),
            ("empty.md", "NF-305"),
            ("locked.pdf", "NF-304"),
        ]
        assert [Path(note.path).name for note in report.skipped] == ["photo.png"]
        assert len(report.read) + len(report.unchanged) == 3
    assert isinstance(report.failed[0].error, Exception)
    wider = lab(max_file_mb=1)
    assert "big.txt" in names(wider.add([papers]).read)


def test_a_file_that_becomes_unreadable_loses_its_passages(papers: Path, lab: Open) -> None:
    index = lab()
    index.add([papers])
    (papers / "heron.md").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert names([f.path for f in index.add([papers]).failed]) == ["heron.md"]
    assert all("heron" not in p.text for p in index.search("heron frogs", k=10))


def test_a_folder_that_cannot_be_opened_keeps_what_is_known_of_it(
    papers: Path, lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = lab()
    index.add([papers])
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "birds":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("nearfar.retrieval.files.os.scandir", refuse)
    report = index.add([papers])
    assert names([f.path for f in report.failed]) == ["birds"]
    assert report.deleted == []


def test_hidden_and_foreign_folders_are_passed_over(papers: Path, lab: Open) -> None:
    for name in (".git", "node_modules", "__pycache__", ".venv", "env", "drafts"):
        (papers / name).mkdir()
        (papers / name / "inside.md").write_text(f"inside {name}")
    (papers / "env" / "pyvenv.cfg").touch()
    (papers / ".hidden.md").write_text("hidden")
    (papers / "old.log").write_text("old")
    report = lab(exclude=["drafts", "*.log"]).add([papers])
    assert names(report.read) == ["heron.md", "owl.txt", "pond.pdf"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_to_folders_cannot_make_a_loop(papers: Path, lab: Open) -> None:
    (papers / "loop").symlink_to(papers, target_is_directory=True)
    (papers / "nowhere.md").symlink_to(papers / "not there")
    (papers / "twin.md").symlink_to(papers / "heron.md")
    report = lab().add([papers])
    assert names([n.path for n in report.skipped]) == ["loop", "nowhere.md"]
    assert names([n.path for n in report.duplicates]) == ["twin.md"]
    linked = papers.parent / "linked"
    linked.symlink_to(papers, target_is_directory=True)
    assert len(lab("other").add([linked]).read) == 3


def test_paths_that_are_not_there_and_folders_without_documents(
    papers: Path, tmp_path: Path, lab: Open
) -> None:
    with pytest.raises(DocumentNotFoundError):
        lab().add([papers, tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "photo.png").touch()
    with pytest.raises(NoDocumentsError):
        lab().add([tmp_path / "empty"])
    assert Index.names() == []


def test_a_refresh_looks_at_all_that_was_added(papers: Path, tmp_path: Path, lab: Open) -> None:
    note = tmp_path / "note.md"
    note.write_text("A note about newts.")
    index = lab()
    index.add([papers])
    index.add([note])
    (papers / "heron.md").unlink()
    note.unlink()
    report = index.add()
    assert names(report.deleted) == ["heron.md", "note.md"]
    shutil.rmtree(papers)
    report = index.add()
    assert [f.error.code for f in report.failed] == ["NF-301"]
    assert report.deleted == []
    assert index.search("owl mice", k=1)[0].source.endswith("owl.txt")


def test_remove_takes_out_files_and_folders(papers: Path, lab: Open) -> None:
    index = lab()
    index.add([papers])
    assert names(index.remove(papers / "heron.md")) == ["heron.md"]
    assert names(index.remove(papers / "birds")) == ["owl.txt"]
    with pytest.raises(DocumentNotFoundError, match="knows nothing"):
        index.remove(papers / "heron.md")
    assert {Path(p.source).name for p in index.search("heron owl pond", k=10)} == {"pond.pdf"}
    assert index.info().chunks == 2
    assert index.check().ok


def test_other_settings_split_anew_and_old_passages_go(papers: Path, lab: Open) -> None:
    (papers / "long.md").write_text("A sentence about ducks. " * 200)
    first = lab(chunk_tokens=200).add([papers])
    second = lab(chunk_tokens=50).add([papers])
    assert second.chunks > 2 * first.chunks
    assert lab().check().ok


def test_names_that_are_no_names_are_refused() -> None:
    for name in (
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "con",
        "NUL.txt",
        "x" * 65,
        "a.",
        "-x",
        "a b",
    ):
        with pytest.raises(UsageError):
            Index.open(name, create=True)
    with pytest.raises(IndexNotFoundError) as raised:
        Index.open("nothing")
    assert raised.value.data == {"name": "nothing", "known": []}


def test_an_index_of_another_model_is_refused(papers: Path, lab: Open) -> None:
    lab().add([papers])
    other = Index.open("lab", embeddings=WordEmbeddings("other"))
    with pytest.raises(EmbedderMismatchError):
        other.search("heron")
    with pytest.raises(EmbedderMismatchError):
        other.add([papers])
    assert other.info().files == 3
    assert not other.check().ok


def test_one_writer_at_a_time_and_searches_go_on(papers: Path, lab: Open) -> None:
    index = lab()
    index.add([papers])
    with index.writing():
        with pytest.raises(IndexLockedError):
            lab().add([papers])
        with pytest.raises(IndexLockedError):
            Index.delete("lab")
        assert lab().search("heron frogs", k=1)


def test_searches_during_a_run_see_whole_documents(
    papers: Path, lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old state or new one; after the run the object that searched sees the new one."""
    monkeypatch.setattr("nearfar.retrieval.ingest.BATCH", 4)
    monkeypatch.setattr("nearfar.retrieval.ingest.COMMIT_S", 0.0)
    index = lab(chunk_tokens=20, chunk_overlap=0)
    index.add([papers])
    for number in range(6):
        text = " ".join(f"Swan {number} swims over pond {n}." for n in range(60))
        (papers / f"swan{number}.md").write_text(text)
    seen: list[set[str]] = []
    problems: list[BaseException] = []
    stop = threading.Event()

    def search() -> None:
        try:
            while not stop.is_set():
                seen.append({Path(p.source).name for p in index.search("swan swims pond", k=50)})
        except BaseException as error:  # noqa: BLE001 - raised below
            problems.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    lab(chunk_tokens=20, chunk_overlap=0).add([papers])
    stop.set()
    thread.join()
    assert problems == []
    assert seen
    assert len({Path(p.source).name for p in index.search("swan swims pond", k=999)}) >= 6


def test_ctrl_c_keeps_the_files_that_are_done(
    papers: Path, lab: Open, words: WordEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearfar.retrieval.ingest.BATCH", 1)
    index = lab()

    def stop(progress: object) -> None:
        if progress.done == 2:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add([papers], on_progress=stop)
    assert index.info().files == 2
    assert index.search("owl mice", k=1)[0].source.endswith("owl.txt")
    words.texts.clear()
    report = index.add([papers])
    assert len(report.read) == 1
    assert len(words.texts) == report.embedded == 2
    assert index.check().ok


def test_a_full_disk_leaves_the_old_index(
    papers: Path, lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = lab()
    index.add([papers])
    (papers / "new.md").write_text("Something new about geese.")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("nearfar.storage.files._write_through", full)
        with pytest.raises(DiskFullError):
            index.add([papers])
    assert index.search("heron frogs", k=1)
    assert index.check().ok
    assert names(index.add([papers]).read) == ["new.md"]


def test_a_damaged_index_says_so(papers: Path, lab: Open) -> None:
    lab().add([papers])
    for file in (home() / "indexes" / "lab" / "store").glob("segment-*"):
        file.write_bytes(b"garbage" + file.read_bytes()[7:])
    check = lab().check()
    assert not check.ok
    assert "NF-312" in check.problems[0]


def test_filters_know_paths_pages_and_functions(papers: Path, lab: Open) -> None:
    shutil.copy(papers / "heron.md", papers / "copy.md")
    index = lab()
    index.add([papers])

    def found(wanted: object) -> set[str]:
        return {Path(p.source).name for p in index.search("the pond", k=10, filter=wanted)}  # type: ignore[arg-type]

    assert found({"source": str(papers / "heron.md")}) == {"copy.md"}
    assert found({"source": [papers / "pond.pdf", papers / "birds" / "owl.txt"]}) == {
        *("pond.pdf", "owl.txt")
    }
    assert found({"page": 2}) == {"pond.pdf"}
    assert found({"page": {"$gte": 3}}) == set()
    assert found(lambda meta: meta["source"].endswith(".txt")) == {"owl.txt"}


async def test_asearch_and_empty_questions(papers: Path, lab: Open) -> None:
    index = lab()
    assert index.search("anything") == []
    index.add([papers])
    assert (await index.asearch("owl mice", k=1))[0].source.endswith("owl.txt")
    assert index.search("  ") == []


def test_progress_counts_every_file(papers: Path, lab: Open) -> None:
    steps: list[tuple[int, int]] = []
    lab().add([papers], on_progress=lambda p: steps.append((p.done, p.total)))
    assert steps[0] == (0, 3)
    assert steps[-1] == (3, 3)
    assert steps == sorted(steps)


# for_paths


def test_for_paths_reads_once(papers: Path, words: WordEmbeddings) -> None:
    index = Index.for_paths([papers], embeddings=words)
    assert index.search("heron frogs", k=1)[0].source == str(papers / "heron.md")
    words.texts.clear()
    again = Index.for_paths([str(papers)], embeddings=words)
    assert again.folder == index.folder
    assert words.texts == []
    (papers / "heron.md").write_text("The heron builds nests.")
    assert Index.for_paths([papers], embeddings=words).search("heron nests", k=1)
    assert len(words.texts) == 1
    assert Index.names() == []


def test_for_paths_of_what_cannot_be_read(
    papers: Path, tmp_path: Path, words: WordEmbeddings
) -> None:
    locked = tmp_path / "locked.pdf"
    locked.write_bytes(locked_pdf(["x"], user="u", owner="o"))
    with pytest.raises(EncryptedDocumentError):
        Index.for_paths([locked], embeddings=words)
    empty = tmp_path / "empty.md"
    empty.touch()
    with pytest.raises(NoDocumentsError, match="None of 2 files"):
        Index.for_paths([locked, empty], embeddings=words)
    index = Index.for_paths([locked, papers], embeddings=words)
    assert index.report is not None
    assert [f.error.code for f in index.report.failed] == ["NF-304"]
    with pytest.raises(DocumentNotFoundError):
        Index.for_paths([tmp_path / "missing"], embeddings=words)


def test_hidden_indexes_make_room_for_each_other(
    papers: Path, tmp_path: Path, words: WordEmbeddings
) -> None:
    folders = []
    for number, path in enumerate([papers / "heron.md", papers / "birds", papers / "pond.pdf"]):
        index = Index.for_paths([path], embeddings=words)
        index.close()
        os.utime(index.folder, (1_600_000_000 + number, 1_600_000_000 + number))
        folders.append(index.folder)
    size = sum(f.stat().st_size for f in folders[0].rglob("*") if f.is_file())
    gone = evict(folders[0].parent, int(size * 1.5), keep=folders[1].name)
    assert gone == [folders[0].name, folders[2].name]
    settings = Settings(retrieval=RetrievalSettings(cache_mb=0))
    kept = Index.for_paths([papers / "heron.md"], embeddings=words, settings=settings)
    assert [f.name for f in folders[0].parent.iterdir() if f.is_dir()] == [kept.folder.name]
