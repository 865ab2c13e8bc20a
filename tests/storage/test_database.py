"""SQLite connections, with real files and real processes."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nearfar.errors import DatabaseError, DiskFullError, StorageError
from nearfar.settings import Settings, StorageSettings
from nearfar.storage import connect, database_path, transaction

ADDER = """
import sys
from pathlib import Path
from nearfar.storage import connect, transaction
db = connect(Path(sys.argv[1]))
for _ in range(100):
    with transaction(db):
        (n,) = db.execute("SELECT n FROM counter").fetchone()
        db.execute("UPDATE counter SET n = ?", (n + 1,))
"""
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


class TestConnect:
    def test_every_connection_has_the_same_settings(self, tmp_path: Path) -> None:
        connection = connect(tmp_path / "deep" / "a.db")
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "synchronous") == 1  # NORMAL
        assert pragma(connection, "busy_timeout") == 30_000
        connection.close()

    def test_durable_means_full_synchronous(self, tmp_path: Path) -> None:
        connection = connect(tmp_path / "a.db", durable=True)
        assert pragma(connection, "synchronous") == 2  # FULL
        connection.close()

    def test_odd_names_are_plain_names(self, tmp_path: Path) -> None:
        path = tmp_path / "50% of ?what#.db"
        connect(path).close()
        assert path.is_file()

    def test_read_only_reads_and_does_not_write(self, tmp_path: Path) -> None:
        writer = connect(tmp_path / "a.db")
        writer.execute("CREATE TABLE t (x)")
        reader = connect(tmp_path / "a.db", read_only=True)
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with pytest.raises(DatabaseError, match="cannot be opened for writing"):
            reader.execute("INSERT INTO t VALUES (1)")
        reader.close()
        writer.close()

    def test_read_only_makes_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseError, match="There is no database"):
            connect(tmp_path / "deep" / "a.db", read_only=True)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_database_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.db").write_bytes(b"this is not a database" * 100)
        with pytest.raises(DatabaseError, match="damaged or is no SQLite database") as caught:
            connect(tmp_path / "a.db")
        assert caught.value.data["path"] == str(tmp_path / "a.db")
        assert (tmp_path / "a.db").read_bytes().startswith(b"this is not")

    def test_a_damaged_page_is_told_when_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        connection = connect(path)
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("word " * 100,)] * 100)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
        connection = connect(path)
        with pytest.raises(DatabaseError, match="damaged"):
            connection.execute("SELECT sum(length(x)) FROM t").fetchone()
        connection.close()

    def test_a_folder_in_its_place_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.db").mkdir()
        with pytest.raises(DatabaseError, match="cannot be opened"):
            connect(tmp_path / "a.db")

    def test_a_file_in_the_place_of_the_folder_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"")
        with pytest.raises(StorageError):
            connect(tmp_path / "f" / "a.db")

    @pytest.mark.skipif(ROOT or os.name == "nt", reason="rights do not bind this user")
    def test_a_folder_without_rights_is_told(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(DatabaseError, match="cannot be opened"):
                connect(tmp_path / "a.db")
        finally:
            tmp_path.chmod(0o700)

    def test_a_full_disk_undoes_the_transaction(self, tmp_path: Path) -> None:
        connection = connect(tmp_path / "a.db")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES ('kept')")
        pages = pragma(connection, "page_count")
        connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own full disk
        rows = [("gone",), ("x" * 100_000,)]
        with pytest.raises(DiskFullError), transaction(connection):
            connection.executemany("INSERT INTO t VALUES (?)", rows)
        assert connection.execute("SELECT x FROM t").fetchall() == [("kept",)]
        connection.close()

    def test_a_broken_constraint_stays_sqlites_own_error(self, tmp_path: Path) -> None:
        connection = connect(tmp_path / "a.db")
        connection.execute("CREATE TABLE t (x UNIQUE)")
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO t VALUES (1)")
        connection.close()


class TestTransaction:
    def test_an_error_undoes_all_of_it(self, tmp_path: Path) -> None:
        connection = connect(tmp_path / "a.db")
        connection.execute("CREATE TABLE t (x)")

        def fail() -> None:
            with transaction(connection):
                connection.execute("INSERT INTO t VALUES (1)")
                raise KeyError("x")

        with pytest.raises(KeyError):
            fail()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert not connection.in_transaction
        connection.close()

    def test_processes_that_write_together_lose_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        connection = connect(path)
        connection.execute("CREATE TABLE counter (n)")
        connection.execute("INSERT INTO counter VALUES (0)")
        adders = [subprocess.Popen([sys.executable, "-c", ADDER, str(path)]) for _ in range(3)]
        assert [adder.wait(timeout=60) for adder in adders] == [0, 0, 0]
        assert connection.execute("SELECT n FROM counter").fetchone() == (300,)
        connection.close()


class TestDatabasePath:
    def test_the_default_is_under_the_home_folder(self, home_folder: Path) -> None:
        assert database_path(Settings()) == home_folder / "nearfar.db"

    def test_the_url_names_another(self, tmp_path: Path) -> None:
        url = f"sqlite:///{(tmp_path / 'x y.db').as_posix()}"
        settings = Settings(storage=StorageSettings(url=url))
        assert database_path(settings) == tmp_path / "x y.db"
