"""`nearfar config key`: keys go into the keyring and are never shown."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.conftest import GUARD, Cli

KEY = "sk-abcdefghijklmnop1234567"
ENV = {
    "PYTHONPATH": os.pathsep.join([str(GUARD), str(Path(__file__).parent)]),
    "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring",
}
NONE = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> None:
    (tmp_path / "nearfar.yaml").write_text(
        "models: {mini: {provider: openai, model: gpt-5-mini, api_key: keyring}}\n"
    )


def test_a_key_is_stored_listed_and_deleted(cli: Cli, home_folder: Path) -> None:
    done = cli("config", "key", "set", "mini", env=ENV, input=f"{KEY}\n")
    assert (done.rc, done.out) == (0, "The key of mini is in the keyring.\n")
    assert json.loads((home_folder / "keyring.json").read_text()) == {"nearfar/mini": KEY}
    listed = cli("config", "key", "list", "--json", env=ENV)
    assert listed.json == {"names": ["mini"]}
    assert KEY not in listed.out
    assert cli("config", "key", "delete", "mini", "--json", env=ENV).json["deleted"] is True
    assert "was not in the keyring" in cli("config", "key", "delete", "mini", env=ENV).out


def test_a_name_that_nothing_uses_is_refused_and_so_is_no_key(cli: Cli) -> None:
    assert cli("config", "key", "set", "minni", env=ENV, input=KEY).rc == 2
    assert cli("config", "key", "set", "mini", env=ENV, input="\n").rc == 2


def test_without_a_keyring_it_says_what_to_do_instead(cli: Cli) -> None:
    done = cli("config", "key", "set", "openai", env=NONE, input=KEY)
    assert done.rc == 2
    assert "no keyring" in done.err
    assert KEY not in done.out + done.err


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a terminal of Unix")
def test_at_a_terminal_the_key_is_asked_for_and_not_echoed(
    home_folder: Path, tmp_path: Path
) -> None:
    import pexpect

    args = ["-m", "nearfar.cli.main", "config", "key", "set", "mini"]
    child = pexpect.spawn(
        sys.executable, args, env={**os.environ, **ENV}, cwd=str(tmp_path), encoding="utf-8"
    )
    child.expect("Key of mini: ", timeout=60)
    child.sendline(KEY)
    child.expect("is in the keyring", timeout=60)
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert KEY not in (child.before or "")
    assert json.loads((home_folder / "keyring.json").read_text()) == {"nearfar/mini": KEY}


def test_the_word_keyring_in_the_settings_is_no_plain_key(cli: Cli, tmp_path: Path) -> None:
    assert cli("config", "check", "--json").json["warnings"] == []
    (tmp_path / "nearfar.yaml").write_text(
        f"models: {{mini: {{provider: openai, model: m, api_key: {KEY}}}}}\n"
    )
    [warning] = cli("config", "check", "--json").json["warnings"]
    assert "nearfar config key set mini" in warning["message"]
    assert KEY not in warning["message"]
