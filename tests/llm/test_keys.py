"""Where keys come from: the settings, the environment, the keyring."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError
from pydantic import SecretStr

from nearfar.errors import ConfigurationError
from nearfar.llm import chat_model
from nearfar.llm.keys import delete, from_keyring, key_of, store
from nearfar.settings import ModelSettings, Settings
from nearfar.testing.fault_server import FaultServer, Reply

OPENAI = ("OPENAI_API_KEY",)


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets."""

    priority = 1
    locked = False
    kept: dict[tuple[str, str], str]

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("sk-in-the-message")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(username)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKeyring]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = keyring.get_keyring()
    ours = MemoryKeyring()  # type: ignore[no-untyped-call]
    ours.kept = {}
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


def model(provider: str = "openai", **fields: Any) -> ModelSettings:
    return ModelSettings.model_validate({"provider": provider, "model": "m", **fields})


def plain(key: SecretStr | None) -> str | None:
    return None if key is None else key.get_secret_value()


def test_the_settings_come_first_then_the_environment_then_the_keyring(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("openai", "of-the-provider")
    assert plain(key_of("mini", model(), OPENAI)) == "of-the-provider"
    store("mini", "of-the-model")
    assert plain(key_of("mini", model(), OPENAI)) == "of-the-model"
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    assert plain(key_of("mini", model(), OPENAI)) == "of-the-environment"
    assert plain(key_of("mini", model(api_key="own"), OPENAI)) == "own"
    assert plain(key_of("mini", model(api_key="keyring"), OPENAI)) == "of-the-model"


def test_keyring_in_the_settings_means_the_keyring_and_nothing_else(ring: MemoryKeyring) -> None:
    with pytest.raises(ConfigurationError, match="has no key for the model 'mini'"):
        key_of("mini", model(api_key="keyring"), OPENAI)


def test_models_that_need_no_key_are_not_looked_up(ring: MemoryKeyring) -> None:
    ring.locked = True
    lab = {"base_url": "http://127.0.0.1:9/v1"}
    assert key_of("lab", model("openai-compatible", **lab), ()) is None


def test_a_locked_keyring_is_a_typed_error_without_its_words(ring: MemoryKeyring) -> None:
    ring.locked = True
    with pytest.raises(ConfigurationError, match="KeyringLocked") as caught:
        key_of("mini", model(api_key="keyring"), OPENAI)
    assert "sk-" not in caught.value.message
    assert key_of("mini", model(), OPENAI) is None  # as where there is no keyring at all
    with pytest.raises(ConfigurationError, match="has no API key"):
        chat_model("mini", settings=Settings(models={"mini": model()}))


def test_a_machine_without_a_keyring_is_told_what_to_do(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyring.backends.fail import Keyring

    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigurationError, match="no keyring") as caught:
        store("mini", "sk-1")
    assert "environment variable" in caught.value.remedy
    assert from_keyring("mini", quiet=True) is None


def test_delete_says_whether_there_was_one(ring: MemoryKeyring) -> None:
    store("mini", "x")
    assert delete("mini") is True
    assert delete("mini") is False


def test_the_stored_key_is_what_the_server_gets(ring: MemoryKeyring) -> None:
    store("lab", "sk-from-the-ring")
    with FaultServer(default=Reply()) as server:
        lab = model("openai-compatible", base_url=server.openai_url, api_key="keyring")
        chat_model("lab", settings=Settings(models={"lab": lab})).invoke("x")
        assert server.requests[0].headers["authorization"] == "Bearer sk-from-the-ring"


def test_the_package_is_loaded_when_a_key_is_looked_up_and_not_before() -> None:
    program = "import sys, nearfar.llm.cloud, nearfar.llm.keys; print('keyring' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
