"""`nearfar config`."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from nearfar.telemetry import MASK
from tests.conftest import Cli

SECRET = "sk-abcdefghijklmnopqrstuvwx"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nearfar.yaml"
    path.write_text("local:\n  max_active: 2\n  threads: ${THREADS:3}\n", encoding="utf-8")
    return path


class TestShow:
    def test_it_shows_each_value_and_where_it_comes_from(self, cli: Cli, file: Path) -> None:
        env = {"NEARFAR__LOCAL__CACHE_MB": "7", "THREADS": "5"}
        shown = cli("config", "show", "--json", env=env).json
        assert shown["file"] == str(file)
        assert shown["settings"]["local"]["threads"] == 5
        assert shown["sources"]["local.max_active"] == f"{file}, line 2"
        assert shown["sources"]["local.threads"] == f"{file}, line 3 (from THREADS)"
        assert shown["sources"]["local.cache_mb"] == (
            "environment variable NEARFAR__LOCAL__CACHE_MB"
        )
        assert shown["sources"]["log.level"] == "default"

    def test_for_people_one_line_per_setting(self, cli: Cli, file: Path) -> None:
        rc, out, _ = cli("config", "show")
        assert rc == 0
        assert f"local.max_active: 2  # {file}, line 2\n" in out
        assert 'log.level: "warning"  # default\n' in out

    def test_a_models_own_options_show_what_holds_for_it(self, cli: Cli, file: Path) -> None:
        file.write_text("local: {threads: 3}\nmodels: {a: {local: {max_active: 1}}}")
        shown = cli("config", "show", "--json").json
        assert shown["settings"]["models"]["a"]["local"]["threads"] == 3
        assert shown["sources"]["models.a.local.threads"] == f"{file}, line 1"
        assert shown["sources"]["models.a.local.max_active"] == f"{file}, line 2"

    def test_secrets_are_masked(self, cli: Cli, file: Path) -> None:
        file.write_text("storage: {url: 'sqlite:///${PLACE}.db'}")
        place = f"/x/{SECRET}"
        for args in ([], ["--json"]):
            rc, out, err = cli("config", "show", *args, env={"PLACE": place})
            assert rc == 0
            assert SECRET not in out + err
            assert MASK in out


class TestCheck:
    def test_a_valid_file(self, cli: Cli, file: Path) -> None:
        assert cli("config", "check").out == f"{file} is valid.\n"
        assert cli("config", "check", "--json").json == {
            "ok": True,
            "file": str(file),
            "warnings": [],
        }

    def test_no_file(self, cli: Cli) -> None:
        assert cli("config", "check", "--json").json["file"] is None
        assert "defaults hold" in cli("config", "check").out

    def test_an_invalid_file_is_exit_2_with_the_error(self, cli: Cli, file: Path) -> None:
        file.write_text("lokal: {}")
        result = cli("config", "check", "--json")
        assert result.rc == 2
        assert result.json["error"]["code"] == "NF-102"
        assert result.json["error"]["data"]["nearest"] == "local"

    def test_a_secret_in_plain_text_is_warned_about_but_not_shown(
        self, cli: Cli, file: Path
    ) -> None:
        file.write_text(f"\nworkflows: {{a: 'x.{SECRET}:graph', b: '${{B:x}}.y:z'}}")
        rc, out, err = cli("config", "check")
        assert rc == 0
        assert "line 2: workflows.a holds a secret" in err
        assert SECRET not in out + err
        (warning,) = cli("config", "check", "--json").json["warnings"]
        assert (warning["key"], warning["line"]) == ("workflows.a", 2)

    def test_the_warning_comes_with_an_error_too(self, cli: Cli, file: Path) -> None:
        file.write_text(f"models: {{a: {{api_key: {SECRET}}}}}")
        result = cli("config", "check", "--json")
        assert result.rc == 2
        (warning,) = result.json["error"]["data"]["warnings"]
        assert warning["key"] == "models.a.api_key"
        assert SECRET not in result.out + result.err


class TestSchema:
    def test_it_is_a_json_schema_that_takes_what_settings_take(self, cli: Cli) -> None:
        schema = cli("config", "schema").json
        assert cli("config", "schema", "--json").json == schema
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        good = "models: {a: {model: ./m, local: {threads: 2}}}\nlog: {level: debug}"
        assert validator.is_valid(yaml.safe_load(good))
        assert not validator.is_valid({"lokal": {}})
        assert not validator.is_valid({"log": {"level": "loud"}})
        assert json.dumps(schema).count("description") > 20
