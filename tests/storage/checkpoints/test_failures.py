"""Full disks, read-only files, locks and damage: a typed error, no corruption, and on it goes."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import DatabaseError, DiskFullError, SchemaVersionError, StorageError
from nearfar.settings import Settings
from nearfar.storage.checkpoints import open_saver

from .conftest import Open
from .graphs import chat, question, texts, thread


def intact(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as other:
        return bool(other.execute("PRAGMA integrity_check").fetchone() == ("ok",))


async def say(graph: Any, *words: str) -> list[str]:
    for word in words:
        await graph.ainvoke(question(word), thread("t"), durability="sync")
    return texts(await graph.aget_state(thread("t")))


async def test_a_full_database_is_told_and_the_run_goes_on_with_more_space(
    sqlite: Open, tmp_path: Path
) -> None:
    """SQLite's own limit of pages: what it raises on a full disk."""
    async with sqlite() as saver:
        graph = chat().compile(checkpointer=saver)
        before = await say(graph, "1", "2")
        own = saver._writer._connection
        pages = own.execute("PRAGMA page_count").fetchone()[0]
        own.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(DiskFullError) as full:
            await say(graph, *(f"{n} " + "x" * 5000 for n in range(20)))
        assert full.value.data["path"].endswith("nearfar.db")
        assert intact(tmp_path / "nearfar.db")
        own.execute("PRAGMA max_page_count = 1000000")
        await graph.ainvoke(None, thread("t"))
        after = await say(graph, "last")
    assert after[: len(before)] == before
    assert after[-2] == "human: last"
    assert intact(tmp_path / "nearfar.db")


FULL = """
import asyncio, resource, sys
from nearfar.errors import StorageError
from tests.storage.checkpoints.conftest import sqlite_store
from tests.storage.checkpoints.graphs import chat, question, thread
from pathlib import Path

async def main():
    async with sqlite_store(Path(sys.argv[1]))() as saver:
        graph = chat().compile(checkpointer=saver)
        await graph.ainvoke(question("first"), thread("t"), durability="sync")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            for n in range(60):
                await graph.ainvoke(question(f"{n} " + "x" * 9000), thread("t"), durability="sync")
            print("no error")
        except StorageError as error:
            print("typed", error.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await graph.ainvoke(None, thread("t"), durability="sync")
        await graph.ainvoke(question("last"), thread("t"), durability="sync")
        print((await graph.aget_state(thread("t"))).values["messages"][-2].text)

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_file_that_may_not_grow_is_told_and_the_run_goes_on_when_it_may(tmp_path: Path) -> None:
    path = tmp_path / "nearfar.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    error, last = done.stdout.splitlines()
    assert error.startswith("typed NF-40")
    assert last == "last"
    assert intact(path)


@pytest.mark.parametrize("what", ["folder", "text", "newer"])
async def test_a_store_that_cannot_be_opened_refuses_the_start(tmp_path: Path, what: str) -> None:
    path = tmp_path / "nearfar.db"
    settings = Settings.model_validate({"storage": {"url": f"sqlite:///{path}"}})
    if what == "folder":
        path.mkdir()
    elif what == "text":
        path.write_text("this is no database " * 100)
    else:
        async with open_saver(settings):
            pass
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE schema_parts SET version = 99 WHERE part = 'checkpoints'")
    expected = SchemaVersionError if what == "newer" else DatabaseError
    with pytest.raises(expected):
        async with open_saver(settings):
            pass


READ_ONLY = """
import asyncio, os, sys, tempfile
from pathlib import Path
from nearfar.errors import StorageError
from tests.storage.checkpoints.conftest import sqlite_store

async def attempt(path):
    try:
        async with sqlite_store(path)():
            print("opened")
    except StorageError as error:
        print("typed", error.code)

async def main():
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    path = folder / "nearfar.db"
    await attempt(path)
    path.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    await attempt(path)
    if os.getuid() == 0:
        os.seteuid(0)
    folder.chmod(0o755)
    path.chmod(0o644)
    await attempt(path)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_a_file_that_may_only_be_read_refuses_the_start_until_it_may_be_written() -> None:
    """Root may write anything: so the program goes on as nobody."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["opened", "typed NF-402", "opened"], done.stderr


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


async def test_a_database_that_another_program_holds_is_told_and_the_run_goes_on(
    sqlite: Open, tmp_path: Path
) -> None:
    path = tmp_path / "nearfar.db"
    async with sqlite() as saver:
        graph = chat().compile(checkpointer=saver)
        before = await say(graph, "1")
        saver._writer._connection.execute("PRAGMA busy_timeout = 100")
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLD, str(path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert other.stdout is not None
        assert await other.stdout.readline() == b"held\n"
        with pytest.raises(DatabaseError, match="busy"):
            await say(graph, "2")
        await other.communicate(b"\n")
        after = await say(graph, "3")
    assert after[: len(before)] == before
    assert after[-2] == "human: 3"
    assert intact(path)


async def test_damage_in_the_file_is_a_typed_error(sqlite: Open, tmp_path: Path) -> None:
    async with sqlite() as saver:
        await say(chat().compile(checkpointer=saver), *(f"{n} " + "x" * 3000 for n in range(30)))
    path = tmp_path / "nearfar.db"
    content = bytearray(path.read_bytes())
    for start in range(8192, len(content) - 4096, 4096):
        content[start : start + 200] = os.urandom(200)
    path.write_bytes(content)
    with pytest.raises(StorageError):
        async with sqlite() as saver:
            await say(chat().compile(checkpointer=saver), "more")


async def test_a_postgres_that_is_not_there_refuses_the_start() -> None:
    from nearfar.storage.checkpoints import postgres
    from nearfar.storage.checkpoints.serde import StrictSerializer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "_WAIT_S", 0.5)
        with pytest.raises(DatabaseError):
            async with postgres.PostgresSaver.open(
                "postgresql://nobody@127.0.0.1:1/none", serde=StrictSerializer()
            ):
                pass


async def test_a_clock_set_back_prunes_nothing_and_loses_nothing(sqlite: Open) -> None:
    from nearfar.storage.checkpoints.pruning import Retention

    async with sqlite() as saver:
        said = await say(chat().compile(checkpointer=saver), "1", "2", "3")
        assert await saver.aretain("t", Retention(days=1, clock=lambda: 0.0)) == 0
        assert texts(await chat().compile(checkpointer=saver).aget_state(thread("t"))) == said
