"""`nearfar models list`."""

from pathlib import Path

import pytest

from nearfar.testing.models import make_random_model
from tests.conftest import Cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random_model(tmp_path_factory.mktemp("models") / "own", layers=1)


def test_the_built_in_models_are_listed_and_used_by_default(cli: Cli) -> None:
    models = cli("models", "list", "--json").json["models"]
    assert [(m["kind"], m["name"], m["default"], m["ok"]) for m in models] == [
        ("chat", "builtin", True, True),
        ("embedding", "builtin", True, True),
    ]
    for model in models:
        assert model["provider"] == "local"
        assert model["size_bytes"] > 1_000_000
        assert model["context"] > 0
        assert Path(model["folder"]).is_dir()


def test_configured_models_are_listed_with_what_is_wrong_with_them(
    cli: Cli, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "nearfar.yaml").write_text(
        f"models:\n  default: {{model: {folder.as_posix()}}}\n  gone: {{model: ./gone}}\n"
        "embeddings:\n  bad: {model: ./bad}\n"
    )
    rc, out, err = listed = cli("models", "list", "--json")
    assert (rc, err) == (0, "")
    rows = {(m["kind"], m["name"]): m for m in listed.json["models"]}
    assert not rows["chat", "builtin"]["default"]
    assert rows["chat", "default"]["default"]
    assert rows["chat", "default"]["model"] == "own"
    assert rows["chat", "default"]["context"] == 2048
    assert not rows["chat", "gone"]["ok"]
    assert "does not exist" in rows["chat", "gone"]["problem"]
    assert not rows["embedding", "bad"]["ok"]
    assert rows["embedding", "builtin"]["default"]
    assert out


def test_for_people_the_default_is_marked_and_problems_are_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nearfar.yaml").write_text("models:\n  gone: {model: ./gone}\n")
    rc, out, err = cli("models", "list")
    assert rc == 0
    assert "builtin *" in out
    assert "gone" in err
