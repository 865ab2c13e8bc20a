"""What a model folder says about itself, and what is said when something is missing."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import ModelLoadError, ModelNotFoundError
from nearfar.llm import LocalChatModel
from nearfar.llm.local.catalog import builtin_folder, find_model, read_model
from nearfar.llm.local.model_text import load_text
from nearfar.settings import Settings


@pytest.fixture
def folder(random_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(random_model, tmp_path / "copied"))


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


def test_a_model_is_found_by_name_and_by_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate(
        {"models": {"mine": {"model": str(folder)}, "default": {"model": "builtin"}}}
    )
    assert find_model("mine", settings).folder == folder.resolve()
    assert find_model(folder).folder == folder.resolve()
    assert find_model("builtin", settings).folder == builtin_folder()
    assert find_model("default", settings).folder == builtin_folder()
    assert find_model(builtin_folder().name).folder == builtin_folder()
    monkeypatch.chdir(folder.parent)
    for relative in ("copied", "./copied", "../" + folder.parent.name + "/copied"):
        assert find_model(relative).folder == folder.resolve()


def test_an_unknown_name_brings_the_nearest(folder: Path) -> None:
    settings = Settings.model_validate({"models": {"research": {"model": str(folder)}}})
    with pytest.raises(ModelNotFoundError, match="'research'") as caught:
        find_model("reserch", settings)
    assert caught.value.data["known"] == ["builtin", "research"]
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        find_model("./nowhere")
    with pytest.raises(ModelNotFoundError, match="is a file"):
        find_model(folder / "genai_config.json")


def test_a_folder_says_what_it_can_hold(folder: Path) -> None:
    info = read_model(folder)
    assert (info.name, info.context_length, info.window) == ("copied", 2048, 2048)
    config = json.loads((folder / "genai_config.json").read_text())
    edit(folder / "genai_config.json", search={**config["search"], "max_length": 512})
    assert read_model(folder).window == 512


def test_nearfar_json_declares_what_cannot_be_read_off(folder: Path) -> None:
    edit(
        folder / "nearfar.json",
        name="declared",
        dialect="mistral",
        json_separators=[",", ":"],
        template_variables={"eos_token": "!"},
        profile={"tool_calling": False},
    )
    text = load_text(folder)
    assert text.info.name == "declared"
    assert text.dialect.name == "mistral"
    assert text.dialect.dumps({"a": [1, 2]}) == '{"a":[1,2]}'
    assert text.template.variables["eos_token"] == "!"
    profile = LocalChatModel(model=folder).profile
    assert profile is not None
    assert not profile["tool_calling"]


def test_a_changed_folder_is_read_again(folder: Path) -> None:
    assert load_text(folder).info.name == "copied"
    edit(folder / "nearfar.json", name="renamed")
    assert load_text(folder).info.name == "renamed"


@pytest.mark.parametrize(
    "name", ["genai_config.json", "tokenizer.json", "model.onnx", "model.onnx.data"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=rf"{name} is missing") as caught:
        read_model(folder)
    assert caught.value.data == {"folder": str(folder), "file": name}
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("genai_config.json", "{", "cannot be read"),
        ("genai_config.json", "[]", "does not hold an object"),
        ("genai_config.json", "{}", 'has no "model"'),
        ("genai_config.json", '{"model": {}}', 'no "context_length"'),
        ("genai_config.json", '{"model": {"context_length": 8}}', "names no ONNX file"),
        ("model.onnx", "", "is empty"),
        ("model.onnx", "version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("nearfar.json", '{"dialekt": "hermes"}', "Did you mean 'dialect'"),
        ("nearfar.json", '{"json_separators": ","}', "two texts"),
    ],
)
def test_a_broken_file_is_named(folder: Path, name: str, content: str, told: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(ModelLoadError, match=told):
        read_model(folder)


def test_every_stage_of_a_pipeline_must_be_there(folder: Path) -> None:
    stages = [{"embed": {"filename": "embed.onnx"}}, {"rest": {"filename": "model.onnx"}}]
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["decoder"] = {"pipeline": stages}
    edit(folder / "genai_config.json", model=config["model"])
    with pytest.raises(ModelLoadError, match=r"embed\.onnx is missing"):
        read_model(folder)


def test_the_built_in_model_is_whole() -> None:
    """Every file that is shipped is the one whose checksum is shipped, its licence among them."""
    info = read_model(builtin_folder())
    sums = (info.folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in sums)}
    shipped = {file.name for file in info.folder.iterdir()} - {"SHA256SUMS"}
    assert shipped == set(listed)
    assert {"LICENSE", "NOTICE", "README.md", "nearfar.json"} <= shipped
    for name, digest in listed.items():
        assert hashlib.sha256((info.folder / name).read_bytes()).hexdigest() == digest, name
