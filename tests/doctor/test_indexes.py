"""Doctor's check of an index."""

from pathlib import Path

import pytest

from nearfar.doctor.indexes import check_index
from nearfar.retrieval.index import Index
from nearfar.settings import Settings


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.md").write_text("# Tides\n\nThe moon pulls the sea twice a day.\n")
    (folder / "b.md").write_text("# Bread\n\nDough rises because yeast makes gas.\n")
    Index.open("lab", create=True).add([folder])
    return folder


def test_a_whole_index_passes(documents: Path) -> None:
    (check,) = check_index("lab", Settings())
    assert check.ok
    assert check.detail == "2 files, 2 passages, all whole"


def test_changed_documents_are_no_failure_but_have_a_remedy(documents: Path) -> None:
    (documents / "c.md").write_text("# New\n\nSomething that was not there before.\n")
    (check,) = check_index("lab", Settings())
    assert check.ok
    assert "1 files are new" in check.detail
    assert "nearfar index add" in check.remedy


def test_a_damaged_index_fails_and_says_how_to_make_it_anew(documents: Path) -> None:
    store = Index.open("lab").folder / "store"
    files = [path for path in store.rglob("*") if path.is_file() and path.stat().st_size > 100]
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
        path.write_bytes(content)
    (check,) = check_index("lab", Settings())
    assert not check.ok
    assert "nearfar index remove lab" in check.remedy
