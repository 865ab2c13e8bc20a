"""What FaissStore leaves on the disk: whole, checked, and one writer's at a time."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from nearfar.errors import (
    DiskFullError,
    EmbedderMismatchError,
    IndexDamagedError,
    IndexLockedError,
    IndexNotFoundError,
    NearfarError,
    SchemaVersionError,
)
from nearfar.retrieval import FaissStore, _documents, _segments
from nearfar.storage import atomic_write, connect, files

EMBEDDING = DeterministicFakeEmbedding(size=8)

# Changes a store and dies without a word before or after the step that makes a save count.
KILLED = """
import os, pathlib, sys
from langchain_core.embeddings import DeterministicFakeEmbedding
from nearfar.retrieval import FaissStore, _documents

def die():
    os.kill(os.getpid(), 9) if os.name == "posix" else os._exit(9)

commit = _documents.Documents.commit
if sys.argv[2] == "before":
    _documents.Documents.commit = lambda self: die()
else:
    _documents.Documents.commit = lambda self: (commit(self), die())
store = FaissStore.load(pathlib.Path(sys.argv[1]), DeterministicFakeEmbedding(size=8))
store.add_texts(["new 0", "new 1", "changed"], ids=["n0", "n1", "o0"])
store.delete(["o1"])
store.save()
"""
OLD = {"o0": "old 0", "o1": "old 1", "o2": "old 2"}
NEW = {"o0": "changed", "o2": "old 2", "n0": "new 0", "n1": "new 1"}


def fill(path: Path) -> None:
    FaissStore.from_texts(list(OLD.values()), EMBEDDING, ids=list(OLD), path=path).close()


def content(store: FaissStore) -> dict[str, str]:
    found = store.similarity_search("x", k=99)
    return {str(document.id): document.page_content for document in found}


def change(store: FaissStore) -> None:
    store.add_texts(["new 0", "new 1", "changed"], ids=["n0", "n1", "o0"])
    store.delete(["o1"])


def left_usable(path: Path) -> dict[str, str]:
    """What the next program finds, after it has checked everything and saved something itself."""
    with FaissStore.load(path, EMBEDDING) as store:
        store.verify()
        found = content(store)
        store.add_texts(["after"], ids=["a"])
        store.save()
        listed = {file.name for s in store._collection._segments for file in s.files}
    with FaissStore.load(path, EMBEDDING) as again:
        assert content(again) == found | {"a": "after"}
    assert {file.name for file in path.glob("*segment-*")} == listed
    return found


@pytest.mark.parametrize(("moment", "expected"), [("before", OLD), ("after", NEW)])
def test_a_program_killed_around_its_commit_leaves_the_old_state_or_the_new(
    tmp_path: Path, moment: str, expected: dict[str, str]
) -> None:
    fill(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    assert subprocess.run(command, check=False, timeout=60).returncode != 0
    assert left_usable(tmp_path) == expected


def test_the_disk_is_usable_at_every_moment_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program killed there would leave what a copy holds that is made before or after each step."""
    fill(tmp_path / "origin")
    copies: list[Path] = []

    def watch(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            copy()
            result = function(*args, **kwargs)
            copy()
            return result

        monkeypatch.setattr(owner, name, watched)

    def copy() -> None:
        copies.append(tmp_path / f"moment {len(copies)}")
        ignored = shutil.ignore_patterns("lock", "*-shm")  # these last no longer than a program
        shutil.copytree(tmp_path / "origin", copies[-1], ignore=ignored)

    with FaissStore.load(tmp_path / "origin", EMBEDDING) as store:
        change(store)
        watch(files, "_write_through")
        watch(Path, "replace")
        watch(Path, "unlink")
        watch(_documents.Documents, "commit")
        store.save()
        monkeypatch.undo()
    found = [left_usable(path) for path in copies]
    assert len(found) >= 14
    assert (found[0], found[-1]) == (OLD, NEW)
    assert found == sorted(found, key=lambda state: state == NEW)
    assert all(state in (OLD, NEW) for state in found)


def test_a_store_killed_before_its_first_save_is_empty_and_usable(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with FaissStore.load(tmp_path / "made", EMBEDDING) as store:
        assert content(store) == {}
        store.add_texts(["a"], ids=["a"])
    with FaissStore.load(tmp_path / "made", EMBEDDING) as store:
        assert content(store) == {}


def test_what_was_not_saved_is_not_there_later(tmp_path: Path) -> None:
    fill(tmp_path)
    with FaissStore.load(tmp_path, EMBEDDING) as store:
        store.add_texts(["x"])
        store.delete(["o0"])
    with FaissStore.load(tmp_path, EMBEDDING) as store:
        assert content(store) == OLD


def test_a_second_writer_is_refused_until_the_first_has_saved(tmp_path: Path) -> None:
    fill(tmp_path)
    first, second = (FaissStore.load(tmp_path, EMBEDDING) for _ in range(2))
    first.add_texts(["a"], ids=["a"])
    with pytest.raises(IndexLockedError) as caught:
        second.add_texts(["b"], ids=["b"])
    assert caught.value.data == {"path": str(tmp_path)}
    with pytest.raises(IndexLockedError):
        second.delete(["o0"])
    assert content(second) == OLD
    first.save()
    second.add_texts(["b"], ids=["b"])
    second.save()
    assert content(first) == content(second) == OLD | {"a": "a", "b": "b"}
    first.close()
    second.close()


def test_another_program_holds_the_lock_only_while_it_lives(tmp_path: Path) -> None:
    fill(tmp_path)
    script = """
import sys
from langchain_core.embeddings import DeterministicFakeEmbedding
from nearfar.retrieval import FaissStore
store = FaissStore.load(sys.argv[1], DeterministicFakeEmbedding(size=8))
store.add_texts(["x"])
print("written", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "written\n"
        with FaissStore.load(tmp_path, EMBEDDING) as store:
            assert content(store) == OLD
            with pytest.raises(IndexLockedError):
                store.delete(["o0"])
            other.kill()
            other.wait(timeout=30)
            store.delete(["o0"])
            store.save()
            assert len(content(store)) == 2


def test_a_reader_sees_what_another_has_saved_while_it_searches(tmp_path: Path) -> None:
    fill(tmp_path)
    stop = threading.Event()
    sizes: list[int] = []
    with FaissStore.load(tmp_path, EMBEDDING) as reader:

        def read() -> None:
            while not stop.is_set():
                sizes.append(len(content(reader)))

        thread = threading.Thread(target=read)
        thread.start()
        with FaissStore.load(tmp_path, EMBEDDING) as writer:
            for n in range(25):
                writer.add_texts([f"{n}"], ids=[f"o{n}"])
                writer.save()
        stop.set()
        thread.join(30)
        assert len(content(reader)) == 25
    assert sizes == sorted(sizes)
    assert sizes[0] >= 3


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def replace(path: Path) -> None:
    path.write_bytes(b"something else entirely " * 50)


@pytest.mark.parametrize("harm", [flip, cut, replace, Path.unlink])
@pytest.mark.parametrize("pattern", ["*.faiss", "*.words", "documents.db"])
def test_a_file_that_is_not_what_was_written_is_found(
    tmp_path: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / "s"
    texts = [f"text number {n} " * 40 for n in range(100)]
    FaissStore.from_texts(texts, EMBEDDING, path=path).close()
    harm(next(path.glob(pattern)))
    with pytest.raises(IndexDamagedError) as caught, FaissStore.load(path, EMBEDDING) as store:
        store.verify()
    assert caught.value.data == {"path": str(path)}
    assert "Remove" in caught.value.remedy


def test_a_text_that_was_changed_by_hand_is_not_returned(tmp_path: Path) -> None:
    fill(tmp_path)
    connection = connect(tmp_path / "documents.db")
    connection.execute("UPDATE documents SET content = ? WHERE id = 'o1'", (b"forged",))
    connection.close()
    with (
        FaissStore.load(tmp_path, EMBEDDING) as store,
        pytest.raises(IndexDamagedError, match="not what was stored"),
    ):
        store.get_by_ids(["o1"])


def test_a_passage_without_a_vector_is_found_when_the_store_is_opened(tmp_path: Path) -> None:
    fill(tmp_path)
    connection = connect(tmp_path / "documents.db")
    connection.execute("DELETE FROM segments")
    connection.close()
    with pytest.raises(IndexDamagedError, match="without vectors"):
        FaissStore.load(tmp_path, EMBEDDING)


def test_damage_of_the_mapped_floats_is_found_by_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segments, "QUANTIZE_ROWS", 2)
    fill(tmp_path)
    flip(next(tmp_path.glob("*.f32")))
    with FaissStore.load(tmp_path, EMBEDDING) as store, pytest.raises(IndexDamagedError):
        store.verify()
    next(tmp_path.glob("*.f32")).unlink()
    with pytest.raises(IndexDamagedError, match=r"f32 is missing"):
        FaissStore.load(tmp_path, EMBEDDING)


def test_a_store_of_another_embedding_model_is_refused_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path)

    class Other(DeterministicFakeEmbedding):
        fingerprint: str = "sha256:other"
        name: str = "other"

    with pytest.raises(EmbedderMismatchError, match=r"made by .*Fake.*\(other\)") as caught:
        FaissStore.load(tmp_path, Other(size=8))
    assert caught.value.data["found"] == "sha256:other"


def test_a_store_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        FaissStore.load(tmp_path / "nowhere", EMBEDDING)
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    connection = connect(tmp_path / "documents.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaVersionError):
        FaissStore.load(tmp_path, EMBEDDING)


def test_a_full_disk_leaves_the_saved_state_and_the_changes_can_be_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".faiss":
            raise DiskFullError("full", data={"path": str(path)})
        atomic_write(path, data)

    with FaissStore.load(tmp_path, EMBEDDING) as store:
        store.add_texts(["new"], ids=["n"])
        monkeypatch.setattr(_segments, "atomic_write", full)
        with pytest.raises(DiskFullError):
            store.save()
        with FaissStore.load(tmp_path, EMBEDDING) as other:
            assert content(other) == OLD
        monkeypatch.setattr(_segments, "atomic_write", atomic_write)
        store.save()
        store.verify()
    with FaissStore.load(tmp_path, EMBEDDING) as store:
        assert content(store) == OLD | {"n": "new"}


def test_when_the_database_runs_out_of_space_memory_goes_back_to_what_is_saved(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    with FaissStore.load(tmp_path, EMBEDDING) as store:
        connection = store._collection._documents._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone()
        with pytest.raises(NearfarError) as caught:
            store.add_texts([str(n) * 5000 for n in range(20)])
        assert isinstance(caught.value, DiskFullError)
        store.rollback()
        assert content(store) == OLD
        connection.execute("PRAGMA max_page_count = 100000").fetchone()
        store.add_texts(["n"], ids=["n"])
        store.save()
        assert content(store) == OLD | {"n": "n"}


def test_a_failed_embedding_changes_nothing(tmp_path: Path) -> None:
    class Broken(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionError("no model")

    with FaissStore(Broken(size=8), path=tmp_path / "s") as store:
        with pytest.raises(ConnectionError):
            store.add_texts(["a"])
        assert len(store) == 0
    with FaissStore(EMBEDDING, path=tmp_path / "s") as store:
        store.add_texts(["the lock is free"])


def test_many_small_saves_make_few_files_and_forget_deleted_texts(tmp_path: Path) -> None:
    with FaissStore(EMBEDDING, path=tmp_path) as store:
        for n in range(60):
            store.add_documents([Document(id=str(n), page_content=f"word{n}")])
            store.save()
        assert len(list(tmp_path.glob("*.faiss"))) <= 7
        store.delete([str(n) for n in range(50)])
        store.save()
        assert sorted(content(store), key=int) == [str(n) for n in range(50, 60)]
        for file in tmp_path.glob("*.words"):
            assert b"word7" not in file.read_bytes()
        store.verify()
