"""Schema changes: each whole or not at all."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nearfar.errors import SchemaVersionError
from nearfar.storage import Migration, connect, migrate

FIRST = Migration.sql("first", "CREATE TABLE a (x)", "INSERT INTO a VALUES (1)")
SECOND = Migration.sql("second", "ALTER TABLE a ADD COLUMN y")
MIGRATOR = """
import sys
from pathlib import Path
from nearfar.storage import Migration, connect, migrate
steps = [Migration.sql(f"s{n}", f"CREATE TABLE t{n} (x)") for n in range(30)]
db = connect(Path(sys.argv[1]))
print(migrate(db, steps))
"""


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_it_applies_what_is_lacking_and_only_once(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    assert migrate(connection, [FIRST]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 1
    assert migrate(connection, [FIRST, SECOND]) == 0
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, None)]
    assert version(connection) == 2
    connection.close()


def test_a_step_that_fails_is_undone_and_those_before_it_stay(tmp_path: Path) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE b (x)")
        connection.execute("INSERT INTO a VALUES (2)")
        raise RuntimeError("broken step")

    connection = connect(tmp_path / "a.db")
    with pytest.raises(RuntimeError, match="broken step"):
        migrate(connection, [FIRST, Migration("broken", broken)])
    assert version(connection) == 1
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("a",)]
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    assert migrate(connection, [FIRST, SECOND]) == 1
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(SchemaVersionError) as caught:
        migrate(connection, [FIRST])
    assert caught.value.data == {"found": 2, "known": 1}
    assert version(connection) == 2
    connection.close()


def test_processes_that_start_together_apply_each_step_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MIGRATOR, str(tmp_path / "a.db")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    connection = connect(tmp_path / "a.db")
    assert version(connection) == 30
    assert sum(int(out) for out in outputs) == 30
    connection.close()


def test_parts_of_a_shared_file_count_their_own_steps(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    other = Migration.sql("other", "CREATE TABLE b (x)")
    assert migrate(connection, [FIRST, SECOND], part="one") == 2
    assert migrate(connection, [other], part="two") == 1
    assert migrate(connection, [FIRST, SECOND], part="one") == 0
    assert version(connection) == 0
    with pytest.raises(SchemaVersionError):
        migrate(connection, [FIRST], part="one")
    connection.close()
