"""Doctor's checks of models, on real worker processes."""

import json
from pathlib import Path

import pytest

from nearfar.doctor.models import check_embeddings, check_model, check_providers
from nearfar.doctor.report import Check
from nearfar.errors import ModelLoadError, ModelNotFoundError
from nearfar.settings import EmbeddingSettings, LocalOptions, ModelSettings, Settings
from nearfar.testing.models import make_random_model

CPU = LocalOptions(execution_providers=["cpu"])


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_providers_that_are_not_there_are_no_failure_while_cpu_works() -> None:
    checks = by_name(list(check_providers(Settings())))
    assert list(checks) == ["provider dml", "provider qnn", "provider cuda", "provider cpu"]
    assert all(check.ok for check in checks.values())
    assert any(check.detail == "in use" for check in checks.values())
    for check in checks.values():
        assert (
            check.detail == "in use" or "works" in check.detail or "not available:" in check.detail
        )


@pytest.mark.skipif("sys.platform == 'win32'", reason="DirectML exists there")
def test_a_chain_without_any_provider_that_works_fails_with_each_reason() -> None:
    chain = LocalOptions(execution_providers=["dml"])
    (check,) = check_providers(Settings(local=chain))
    assert not check.ok
    assert "only on Windows" in check.detail
    assert "nf-203" in check.remedy


def test_a_model_is_loaded_measured_filled_and_forced(tmp_path: Path) -> None:
    make_random_model(tmp_path / "m", context_length=1000)
    settings = Settings(models={"mine": ModelSettings(model=str(tmp_path / "m"))}, local=CPU)
    checks = by_name(list(check_model("mine", settings)))
    assert list(checks) == ["model mine", "speed mine", "context mine", "grammar mine"]
    assert all(check.ok for check in checks.values())
    assert "m on cpu, loaded in" in checks["model mine"].detail
    assert "tokens/s" in checks["speed mine"].detail
    assert checks["context mine"].detail.startswith("1000 tokens, filled in")


def test_the_window_is_what_the_search_options_leave(tmp_path: Path) -> None:
    make_random_model(tmp_path)
    config = json.loads((tmp_path / "genai_config.json").read_text())
    config["search"]["max_length"] = 700
    (tmp_path / "genai_config.json").write_text(json.dumps(config))
    checks = by_name(list(check_model(str(tmp_path), Settings(local=CPU))))
    assert checks[f"context {tmp_path}"].detail.startswith("700 tokens")


@pytest.mark.parametrize("file", ["genai_config.json", "tokenizer.json", "model.onnx"])
def test_a_model_with_a_missing_or_garbled_file_raises_what_doctor_shows(
    tmp_path: Path, file: str
) -> None:
    make_random_model(tmp_path)
    (tmp_path / file).write_bytes(b"\x00garbled")
    with pytest.raises(ModelLoadError) as caught:
        list(check_model(str(tmp_path), Settings(local=CPU)))
    assert caught.value.remedy
    (tmp_path / file).unlink()
    with pytest.raises(ModelLoadError, match="is missing"):
        list(check_model(str(tmp_path), Settings(local=CPU)))


def test_an_unknown_model_raises_what_doctor_shows() -> None:
    with pytest.raises(ModelNotFoundError):
        list(check_model("nosuch", Settings()))


def test_the_built_in_embeddings_tell_related_texts_from_others() -> None:
    (check,) = check_embeddings("builtin", Settings())
    assert check.ok
    assert check.detail.startswith("384 dimensions")


def test_a_configured_embedding_model_that_is_not_there_raises(tmp_path: Path) -> None:
    settings = Settings(embeddings={"mine": EmbeddingSettings(model=str(tmp_path / "none"))})
    with pytest.raises((ModelNotFoundError, ModelLoadError)):
        list(check_embeddings("mine", settings))
