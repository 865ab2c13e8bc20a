"""The tests' end of ``kill_children``: processes that are forked from one warmed process."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[3]
SIGKILL = 9


@dataclass(frozen=True)
class Child:
    """A process that was started, and where it writes its answer."""

    pid: int
    answer: Path


class Forge:
    """One warmed process that forks a child for each task."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.graphs.runtime.kill_children"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait(30)

    def ask(self, wanted: dict[str, Any]) -> dict[str, Any]:
        stdin = _pipe(self._process.stdin)
        stdin.write(json.dumps(wanted) + "\n")
        stdin.flush()
        told: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return told


class Children:
    """Children whose store is SQLite in their home, or a place in Postgres for each home."""

    def __init__(
        self, forge: Forge, folder: Path, new_database: Callable[[], str] | None = None
    ) -> None:
        self._forge = forge
        self._folder = folder
        self._new_database = new_database
        self._urls: dict[Path, str] = {}
        self._count = 0

    def url(self, home: Path) -> str:
        """The database of a home."""
        if home not in self._urls:
            file = (home / "nearfar.db").as_posix()
            self._urls[home] = self._new_database() if self._new_database else f"sqlite:///{file}"
        return self._urls[home]

    def start(self, home: Path, what: str, **task: Any) -> Child:
        self._count += 1
        home.mkdir(exist_ok=True)
        answer = self._folder / f"answer{self._count}"
        environ = {
            "NEARFAR_HOME": str(home),
            "NEARFAR__STORAGE__URL": self.url(home),
            "KILL_LOG": str(home / "log"),
            **task.pop("environ", {}),
        }
        whole = {"environ": environ, "answer": str(answer), "what": what, **task}
        return Child(self._forge.ask({"start": whole})["pid"], answer)

    def wait(self, child: Child) -> dict[str, Any] | None:
        """What the child answered; None when it was killed."""
        ended = self._forge.ask({"wait": child.pid})
        assert ended["signal"] in (0, SIGKILL)
        if ended["signal"]:
            return None
        told: dict[str, Any] = json.loads(child.answer.read_text(encoding="utf-8"))
        return told

    def run(self, home: Path, what: str, **task: Any) -> dict[str, Any] | None:
        """What the child answered; None when it was killed."""
        return self.wait(self.start(home, what, **task))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
