"""The checksums of the built-in models."""

import shutil
from pathlib import Path

import pytest

from nearfar.doctor.assets import MANIFEST, builtin_folder, check_assets


def test_what_is_shipped_matches_its_checksums() -> None:
    """Fails after a model was replaced without `python training/checksums.py`."""
    checks = list(check_assets())
    assert [check for check in checks if not check.ok] == []
    assert len(checks) >= 2


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    source = next(path.parent for path in builtin_folder().glob(f"*/{MANIFEST}"))
    shutil.copytree(source, tmp_path / source.name)
    return tmp_path / source.name


def test_a_changed_file_is_found(copy: Path) -> None:
    with (copy / "tokenizer.json").open("r+b") as file:
        file.seek(100)
        file.write(b"\0")
    (check,) = check_assets(copy.parent)
    assert not check.ok
    assert "tokenizer.json is not the file that was shipped" in check.detail
    assert "Install again" in check.remedy


def test_a_missing_file_and_a_missing_list_are_found(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    (check,) = check_assets(copy.parent)
    assert "model.onnx is missing" in check.detail
    (copy / MANIFEST).unlink()
    (check,) = check_assets(copy.parent)
    assert f"{MANIFEST} is missing" in check.detail


def test_an_installation_without_models_is_found(tmp_path: Path) -> None:
    (check,) = check_assets(tmp_path)
    assert not check.ok
