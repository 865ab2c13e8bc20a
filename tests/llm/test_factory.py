"""Chat models by name."""

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

import nearfar.llm
from nearfar.errors import ModelNotFoundError
from nearfar.llm import LocalChatModel, chat_model
from nearfar.settings import Settings
from nearfar.testing.models import make_random_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random_model(tmp_path_factory.mktemp("models") / "own", layers=1)


def local(name: str | None = None, settings: Settings | Path | None = None) -> LocalChatModel:
    return cast("LocalChatModel", chat_model(name, settings=settings))


def test_without_configuration_it_is_the_built_in_model() -> None:
    assert local().model == "builtin"
    assert local("builtin").model == "builtin"


def test_the_model_called_default_is_used_without_a_name(folder: Path) -> None:
    settings = Settings.model_validate({"models": {"default": {"model": str(folder)}}})
    assert local(settings=settings).model == str(folder.resolve())
    assert local("builtin", settings).model == "builtin"


def test_a_models_own_options_come_before_the_general_ones(folder: Path) -> None:
    options = {"max_active": 2, "execution_providers": ["cpu"], "max_tokens": 99}
    settings = Settings.model_validate(
        {
            "local": {"max_active": 3, "cache_mb": 7},
            "models": {"own": {"model": str(folder), "local": options}},
        }
    )
    own, plain = local("own", settings), local("builtin", settings)
    assert (own.max_active, own.cache_mb, own.max_tokens) == (2, 7, 99)
    assert own.execution_providers == ("cpu",)
    assert (plain.max_active, plain.cache_mb) == (3, 7)


def test_a_folder_needs_no_configuration(folder: Path) -> None:
    assert local(str(folder)).model == str(folder.resolve())


def test_settings_may_be_a_file(tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "nearfar.yaml"
    file.write_text(f"models:\n  own:\n    model: {folder.as_posix()}\n")
    assert local("own", file).model == str(folder.resolve())


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="'builtin'"):
        chat_model("bultin")


def test_the_package_loads_nothing_heavy_before_a_name_is_used() -> None:
    code = (
        "import sys, nearfar.llm, nearfar.llm.local\n"
        "print([m for m in ('langchain_core', 'onnxruntime', 'tokenizers') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_name_that_is_offered_is_there() -> None:
    for name in nearfar.llm.__all__:
        assert getattr(nearfar.llm, name)
    with pytest.raises(AttributeError, match="nothing"):
        nearfar.llm.nothing  # noqa: B018  # looking it up is the test
