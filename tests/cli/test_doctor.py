"""`nearfar doctor`, as a user runs it."""

import json
from pathlib import Path

import pytest

from nearfar.cli.main import main


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, object]]:
    code = main(["doctor", "--json", *args])
    out, _ = capsys.readouterr()
    return code, json.loads(out)


def test_all_is_well_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run_json(capsys)
    assert (code, report["ok"]) == (0, True)
    checks = report["checks"]
    assert isinstance(checks, list)
    assert all(set(check) == {"name", "ok", "detail", "remedy"} for check in checks)
    names = [check["name"] for check in checks]
    assert {"platform", "python", "wheels", "configuration", "home", "disk", "memory"} <= set(names)
    assert {"provider cpu", "model builtin", "context builtin", "grammar builtin"} <= set(names)
    assert "embeddings builtin" in names


def test_people_get_a_line_for_each_check_and_a_remedy_for_each_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", "--model", str(tmp_path / "nosuch")]) == 1
    out, err = capsys.readouterr()
    assert "FAILED" in out
    assert "NF-201" in out
    assert "-> Give the folder that holds genai_config.json." in out
    assert "checks failed." in out
    assert "Traceback" not in out + err


def test_broken_settings_are_one_failure_among_other_checks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "nearfar.yaml"
    config.write_text("retreival: {k: 3}\n")
    code, report = run_json(capsys, "--config", str(config))
    checks = report["checks"]
    assert isinstance(checks, list)
    failed = [check for check in checks if not check["ok"]]
    assert (code, report["ok"]) == (1, False)
    assert [check["name"] for check in failed] == ["configuration"]
    assert "NF-102" in failed[0]["detail"]
    assert any(check["name"] == "model builtin" for check in checks)


def test_a_configured_model_that_is_broken_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "nearfar.yaml").write_text("models: {mine: {model: ./broken}}\n")
    code, report = run_json(capsys, "--config", str(tmp_path / "nearfar.yaml"))
    checks = report["checks"]
    assert isinstance(checks, list)
    failed = [check for check in checks if not check["ok"]]
    assert code == 1
    assert [check["name"] for check in failed] == ["model mine"]
    assert "genai_config.json is missing" in failed[0]["detail"]


def test_a_home_that_cannot_be_made_is_told_and_does_not_stop_the_rest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEARFAR_HOME", str(tmp_path / "file" / "home"))
    code, report = run_json(capsys)
    checks = report["checks"]
    assert isinstance(checks, list)
    failed = {check["name"] for check in checks if not check["ok"]}
    assert code == 1
    assert {"home", "indexes"} <= failed
    assert "model builtin" not in failed
