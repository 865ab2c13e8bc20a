"""`nearfar bench`: that it runs and gives its figures. How fast is not a test's business."""

import json
from pathlib import Path

import pytest

from nearfar.cli.main import main
from nearfar.doctor import bench
from nearfar.testing.models import make_random_model

TINY = bench.Sizes(1, (16, 64), 8, 128, 4, 2, 40, 5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "QUICK", TINY)


def test_all_figures_are_there_and_above_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_random_model(tmp_path / "model")
    assert main(["bench", "--quick", "--json", "--model", str(tmp_path / "model")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [figure["name"] for figure in report["measurements"]] == [
        "load",
        "first token",
        "first token",
        "tokens",
        "second turn",
        "embeddings",
        "question",
        "documents indexed",
        "index again",
        "retrieval",
    ]
    assert all(figure["value"] > 0 for figure in report["measurements"])
    assert {figure["unit"] for figure in report["measurements"]} == {"s", "1/s"}


def test_people_get_a_line_for_each_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 10
    assert "per second" in out
    assert " ms" in out


def test_an_unknown_model_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--quick", "--json", "--model", "nosuch"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "NF-201"
