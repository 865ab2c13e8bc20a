"""Encryption at rest: the database holds nothing that can be read, and nothing unsealed is read."""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import ConfigurationError, EncryptionError
from nearfar.settings import EncryptionSettings, Settings
from nearfar.storage.checkpoints import open_saver
from nearfar.storage.checkpoints.cipher import SealedSerializer, encryption_key
from nearfar.storage.checkpoints.serde import StrictSerializer

from .conftest import Open
from .graphs import chat, question, texts, thread

KEY = secrets.token_bytes(32)


def sealed(key: bytes = KEY) -> SealedSerializer:
    return SealedSerializer(key, StrictSerializer())


def holds(folder: Path, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in folder.glob("nearfar.db*"))


async def talk(opened: Open, serde: Any, turns: int = 6) -> list[str]:
    async with opened(serde=serde) as saver:
        graph = chat().compile(checkpointer=saver)
        for n in range(turns):
            await graph.ainvoke(question(f"my secret word {n}"), thread("t"))
        return texts(await graph.aget_state(thread("t")))


async def test_nothing_that_was_said_stands_in_the_database(store: Open, tmp_path: Path) -> None:
    said = await talk(store, sealed())
    async with store(serde=sealed()) as saver:
        assert texts(await chat().compile(checkpointer=saver).aget_state(thread("t"))) == said
        await saver.adelete_thread("t")


async def test_the_file_holds_no_text_of_a_message(sqlite: Open, tmp_path: Path) -> None:
    await talk(sqlite, sealed())
    assert not holds(tmp_path, b"secret word")
    await talk(sqlite, sealed(), 1)


async def test_another_key_is_a_typed_error_at_the_start(sqlite: Open) -> None:
    await talk(sqlite, sealed())
    with pytest.raises(EncryptionError, match="another"):
        await talk(sqlite, sealed(secrets.token_bytes(32)))
    with pytest.raises(EncryptionError, match="names no key"):
        await talk(sqlite, StrictSerializer())


async def test_plain_rows_are_refused(sqlite: Open) -> None:
    await talk(sqlite, StrictSerializer())
    with pytest.raises(EncryptionError, match="not encrypted"):
        await talk(sqlite, sealed())


@pytest.mark.parametrize("table", ["checkpoint_items", "writes", "checkpoints"])
async def test_a_changed_or_plain_row_between_sealed_ones_is_refused(
    sqlite: Open, tmp_path: Path, table: str
) -> None:
    column = "checkpoint" if table == "checkpoints" else "value"
    async with sqlite(serde=sealed()) as saver:
        graph = chat().compile(checkpointer=saver)
        for n in range(6):
            await graph.ainvoke(question(f"{n}"), thread("t"))
        await saver.aput_writes((await saver.aget_tuple(thread("t"))).config, [("x", 1)], "task")
    for change in (f"{column} = zeroblob(40)", f"type = 'msgpack', {column} = x'01'"):
        with closing(sqlite3.connect(tmp_path / "nearfar.db")) as other, other:
            other.execute(f"UPDATE {table} SET {change}")  # noqa: S608 - names from this file
        with pytest.raises(EncryptionError):
            async with sqlite(serde=sealed()) as saver:
                await saver.aget_tuple(thread("t"))


def test_a_key_comes_from_the_settings_a_file_or_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    import keyring

    monkeypatch.setattr(
        keyring,
        "get_password",
        lambda service, entry: KEY.hex() if (service, entry) == ("nearfar", "db") else None,
    )
    for given in ({"key": KEY.hex()}, {"key_file": str(file)}, {"keyring": "db"}):
        assert encryption_key(EncryptionSettings.model_validate(given)) == KEY
    assert encryption_key(EncryptionSettings()) is None
    for given in ({"key": "short"}, {"keyring": "other"}):
        with pytest.raises(ConfigurationError):
            encryption_key(EncryptionSettings.model_validate(given))


async def test_the_settings_turn_it_on(home_folder: Path) -> None:
    settings = Settings.model_validate({"storage": {"encryption": {"key": KEY.hex()}}})
    async with open_saver(settings) as saver:
        graph = chat().compile(checkpointer=saver)
        for n in range(6):
            await graph.ainvoke(question(f"secret word {n}"), thread("t"))
    assert not holds(home_folder, b"secret word")
    assert KEY.hex() not in repr(settings)
    with pytest.raises(EncryptionError):
        async with open_saver(Settings()):
            pass
