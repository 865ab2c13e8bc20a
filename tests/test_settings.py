"""nearfar.yaml and the environment."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import nearfar
from nearfar.errors import (
    ConfigurationError,
    MissingVariableError,
    StorageError,
    UnknownKeyError,
)
from nearfar.settings import Settings, home, json_schema, load, load_settings, resolve

SECRET = "sk-verysecretverysecret1234"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "nearfar.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def refused(kind: type[ConfigurationError] = ConfigurationError) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert type(caught.value) is kind
    return caught.value


class TestWhereSettingsComeFrom:
    def test_without_a_file_the_defaults_hold(self, folder: Path) -> None:
        assert load_settings() == Settings()

    def test_the_working_directory_comes_before_the_users_folder(
        self, folder: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = home_folder / "user"
        monkeypatch.setattr("platformdirs.user_config_path", lambda *a, **k: user)
        write(user, "local: {max_active: 3}")
        assert load_settings().local.max_active == 3
        write(folder, "local: {max_active: 2}")
        assert load_settings().local.max_active == 2

    def test_a_path_given_comes_before_both(self, folder: Path) -> None:
        write(folder, "local: {max_active: 2}")
        other = write(folder, "local: {max_active: 7}", "other.yaml")
        assert load_settings(other).local.max_active == 7
        assert nearfar.load_settings(str(other)).local.max_active == 7

    def test_a_path_given_must_exist(self, folder: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"missing\.yaml: there is no such file"):
            load_settings(folder / "missing.yaml")

    def test_the_environment_wins_over_the_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, "local: {max_active: 2, threads: 3}")
        monkeypatch.setenv("NEARFAR__LOCAL__MAX_ACTIVE", "9")
        settings = load_settings()
        assert (settings.local.max_active, settings.local.threads) == (9, 3)

    def test_variables_reach_names_whatever_their_case_and_dashes(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, "models: {My-Model: {local: {max_active: 2}}}")
        monkeypatch.setenv("NEARFAR__MODELS__MY_MODEL__LOCAL__THREADS", "5")
        options = load_settings().local_options("My-Model")
        assert (options.max_active, options.threads) == (2, 5)

    def test_variables_take_lists_and_mappings_in_flow_style(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NEARFAR__LOCAL__EXECUTION_PROVIDERS", '["cuda", "cpu"]')
        monkeypatch.setenv("NEARFAR__RETRIEVAL", "{k: 3}")
        monkeypatch.setenv("NEARFAR__RETRIEVAL__FETCH_K", "30")
        settings = load_settings()
        assert settings.local.execution_providers == ["cuda", "cpu"]
        assert (settings.retrieval.k, settings.retrieval.fetch_k) == (3, 30)

    def test_an_empty_variable_counts_as_not_set(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NEARFAR__LOCAL__MAX_ACTIVE", "")
        assert load_settings() == Settings()

    def test_each_value_knows_its_place(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(folder, "local:\n  max_active: 2\n  threads: ${N:4}\n")
        monkeypatch.setenv("NEARFAR__LOCAL__CACHE_MB", "1")
        places = load().source.places
        assert str(places["local", "max_active"]) == f"{file}, line 2"
        assert places["local", "threads"].variables == ("N",)
        assert places["local", "cache_mb"].variable == "NEARFAR__LOCAL__CACHE_MB"


class TestVariablesInValues:
    def test_they_are_filled_in_and_defaults_stand_in(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LEVEL", "debug")
        write(folder, "log: {level: '${LEVEL}'}\nlocal: {threads: '${NOT_SET:4}'}")
        settings = load_settings()
        assert (settings.log.level, settings.local.threads) == ("debug", 4)

    def test_two_dollars_stand_for_one(self, folder: Path) -> None:
        write(folder, "workflows: {a: 'pkg$${x}:graph'}")
        assert load_settings().workflows["a"] == "pkg${x}:graph"

    def test_a_default_may_be_a_path_with_a_colon(self, folder: Path) -> None:
        write(folder, "workflows: {a: '${FLOW:package.module:graph}'}")
        assert load_settings().workflows["a"] == "package.module:graph"

    def test_one_that_is_not_set_is_named(self, folder: Path) -> None:
        write(folder, "\nlocal:\n  threads: ${NOT_SET}\n")
        error = refused(MissingVariableError)
        assert "line 3" in error.message
        assert error.data["variable"] == "NOT_SET"
        assert error.data["key"] == "local.threads"


class TestPaths:
    def test_relative_paths_in_the_file_are_relative_to_the_file(self, folder: Path) -> None:
        deep = folder / "deep"
        file = write(
            deep,
            "models: {a: {model: ./m}, b: {model: builtin}, c: {model: bare}}\n"
            "workflows: {w: './flow.py:graph'}\nstorage: {url: 'sqlite:///x.db'}",
        )
        settings = load_settings(file)
        assert settings.models["a"].model == str((deep / "m").resolve())
        assert settings.models["b"].model == "builtin"
        assert settings.models["c"].model == "bare"
        assert settings.workflows["w"] == f"{(deep / 'flow.py').resolve()}:graph"
        assert settings.storage.url == f"sqlite:///{(deep / 'x.db').resolve().as_posix()}"

    def test_relative_paths_in_variables_are_relative_to_the_working_directory(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(folder / "deep", "models: {a: {model: ./m}}")
        monkeypatch.setenv("NEARFAR__MODELS__A__MODEL", "./other")
        assert load_settings(file).models["a"].model == str((folder / "other").resolve())

    def test_the_home_is_read_when_it_is_used_and_made(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NEARFAR_HOME", str(folder / "a" / "b"))
        assert home() == folder / "a" / "b"
        assert home().is_dir()
        monkeypatch.setenv("NEARFAR_HOME", str(folder / "c"))
        assert home() == folder / "c"

    def test_a_home_that_cannot_be_made_is_a_storage_error(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NEARFAR_HOME", str(write(folder, "x", "file") / "home"))
        with pytest.raises(StorageError, match="cannot be made"):
            home()


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("text", "key", "near", "line"),
        [
            ("local:\n  max_activ: 2", "local.max_activ", "max_active", 2),
            ("modles: {}", "modles", "models", 1),
            ("models:\n  a:\n    modle: x", "models.a.modle", "model", 3),
            ("models:\n  a: {local: {treads: 1}}", "models.a.local.treads", "threads", 2),
        ],
    )
    def test_an_unknown_key_with_its_place_and_the_nearest(
        self, folder: Path, text: str, key: str, near: str, line: int
    ) -> None:
        file = write(folder, text)
        error = refused(UnknownKeyError)
        assert error.data["key"] == key
        assert error.data["nearest"] == near
        assert (error.data["file"], error.data["line"]) == (str(file), line)
        assert f"Did you mean '{near}'?" in error.message
        assert f"{file}, line {line}" in error.message

    def test_an_unknown_key_far_from_all_lists_what_is_known(self, folder: Path) -> None:
        write(folder, "log: {zzz: 1}")
        assert "Known here: level." in refused(UnknownKeyError).message

    def test_an_unknown_variable_by_its_name(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NEARFAR__LOCAL__MAX_ACTIV", "2")
        error = refused(UnknownKeyError)
        assert error.data["variable"] == "NEARFAR__LOCAL__MAX_ACTIV"
        assert error.data["nearest"] == "max_active"

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("local: {max_active: many}", "local.max_active must be a whole number, but is text"),
            ("local: {max_active: 0}", "local.max_active must be at least 1"),
            ("local: {hang_s: 0}", "local.hang_s must be more than 0"),
            ("local: 5", "local must hold keys with values, but is a whole number"),
            ("local: {execution_providers: cpu}", "must be a list, but is text"),
            ("local: {execution_providers: []}", "must have at least 1 entry"),
            ("local: {execution_providers: [cpu, cpu]}", "names an execution provider twice"),
            ("local: {execution_providers: [gpu]}", "must be one of 'dml', 'qnn', 'cuda' or 'cpu'"),
            ("storage: {url: 'mysql://x'}", "storage.url must start with sqlite:///"),
            ("models: {a: {provider: carrier-pigeon}}", "models.a.provider must be one of 'local'"),
            ("workflows: {a: nonsense}", "workflows.a must be written as package.module:name"),
            ("models: [a]", "models must hold keys with values, but is a list"),
        ],
    )
    def test_a_wrong_value_with_key_problem_and_file(
        self, folder: Path, text: str, told: str
    ) -> None:
        file = write(folder, text)
        error = refused()
        assert told in error.message
        assert str(file) in error.message
        assert error.exit_code == 2

    def test_all_problems_are_told_at_once(self, folder: Path) -> None:
        write(folder, "local:\n  max_active: x\n  threads: y\n")
        error = refused()
        assert len(error.data["problems"]) == 2
        assert "line 2" in error.data["problems"][0]
        assert "line 3" in error.data["problems"][1]

    @pytest.mark.parametrize(
        "text",
        [
            f"local: {{max_active: {SECRET}}}",
            f"models: {{a: {{provider: {SECRET}}}}}",
            f"models: {{a: {SECRET}}}",
            f"workflows: {{a: {SECRET}}}",
            f"storage: {{url: {SECRET}}}",
            f"models: {{a: {{api_key: {SECRET}}}}}",
            f"models: {{a: [{SECRET}",
            f"local: !{SECRET} x",
        ],
    )
    def test_no_error_repeats_a_value(self, folder: Path, text: str) -> None:
        write(folder, text)
        error = refused_any()
        shown = f"{error.message} {error.remedy} {error.data!r} {error!r}"
        if "!" not in text:  # a YAML tag is a type, not a value
            assert SECRET not in shown
        assert error.__cause__ is None

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"local: [1, 2", "line 1, column 13: this is not valid YAML"),
            (b"a: b: c", "not valid YAML"),
            (b"\tlocal: 1", "not valid YAML"),
            (b"- a\n- b", "must hold keys with values .*holds a list"),
            (b"just text", "holds a text"),
            (b"local: {threads: 1}\nlocal: {threads: 2}", "the key 'local' stands twice"),
            (b"local:\n  threads: 1\n  threads: 2", "line 3: in local: the key 'threads'"),
            (b"log: {level: caf\xe9}", r"is not UTF-8 text \(byte 16\)"),
            (b"log: \x00", "NUL"),
            (b"? [a]\n: b", "a key must be plain text"),
            (b"local: &a [*a]", "endless"),
            (b"local: !!python/object:os.system {}", "in local: a tag"),
            (b"local: !!python/name:os.system x", "not valid YAML"),
            (b"--- {}\n--- {}", "not valid YAML"),
            (b"a: " + b"[" * 5000, "nested too deeply|not valid YAML"),
        ],
    )
    def test_a_broken_file_with_the_place(self, folder: Path, content: bytes, told: str) -> None:
        (folder / "nearfar.yaml").write_bytes(content)
        with pytest.raises(ConfigurationError, match=told) as caught:
            load_settings()
        assert "nearfar.yaml" in caught.value.message

    def test_aliases_that_multiply_are_stopped(self, folder: Path) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        write(folder, "\n".join(lines))
        assert "endless" in refused().message

    def test_a_folder_instead_of_a_file(self, folder: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            load_settings(folder)

    def test_what_is_no_settings_at_all(self) -> None:
        with pytest.raises(ConfigurationError, match="not int"):
            resolve(5)  # type: ignore[arg-type]  # what is tested


def refused_any() -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return caught.value


class TestWhatIsAccepted:
    @pytest.mark.parametrize("text", ["", "# nothing", "{}", "local:\n", "models:\n", "---\n"])
    def test_empty_files_and_sections_mean_the_defaults(self, folder: Path, text: str) -> None:
        write(folder, text)
        assert load_settings() == Settings()

    def test_names_that_yaml_takes_for_other_things(self, folder: Path) -> None:
        write(folder, "models: {1: {}, no: {}, 2024-01-01: {}}")
        assert list(load_settings().models) == ["1", "no", "2024-01-01"]

    def test_anchors_and_merge_keys(self, folder: Path) -> None:
        write(folder, "local: &l {threads: 2}\nmodels: {a: {local: {<<: *l, max_active: 1}}}")
        options = load_settings().local_options("a")
        assert (options.threads, options.max_active) == (2, 1)

    def test_a_byte_order_mark(self, folder: Path) -> None:
        (folder / "nearfar.yaml").write_bytes(b"\xef\xbb\xbflocal: {threads: 2}")
        assert load_settings().local.threads == 2

    def test_a_models_own_options_go_over_the_common_ones(self, folder: Path) -> None:
        write(folder, "local: {threads: 2, cache_mb: 9}\nmodels: {a: {local: {threads: 5}}}")
        settings = load_settings()
        assert settings.local_options("a").threads == 5
        assert settings.local_options("a").cache_mb == 9
        assert settings.local_options("unknown") == settings.local

    def test_resolve_takes_an_object_a_path_or_nothing(self, folder: Path) -> None:
        file = write(folder, "local: {threads: 2}", "x.yaml")
        settings = Settings()
        assert resolve(settings) is settings
        assert resolve(file).local.threads == 2
        assert resolve(str(file)).local.threads == 2
        assert resolve(None) == Settings()


def test_every_field_has_a_description_for_editors() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        for name, field in section["properties"].items():
            target = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or target.get("description"), name


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().local = Settings().local  # type: ignore[misc]  # what is tested


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_yaml_gives_settings_or_a_configuration_error(tree: Any) -> None:
    """Whatever the file holds, nothing but a ConfigurationError comes out."""
    file = Path(os.environ["NEARFAR_HOME"]) / "any.yaml"
    file.write_text(yaml.safe_dump({"local": tree, "models": {"a": tree}}), encoding="utf-8")
    try:
        load_settings(file)
    except ConfigurationError as error:
        assert str(file) in error.message  # noqa: PT017  # either outcome is right
