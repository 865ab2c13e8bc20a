"""What holds for every test: no network, a home of its own, nothing left running."""

import atexit
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import psutil
import pytest

from tests.postgres import PostgresServer, running_postgres

ROOT = Path(__file__).parent.parent
GUARD = ROOT / "tests" / "guard"
WORKER_MODULE = "nearfar.llm.local.worker"

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

# What a shell starts in the background is deaf to Ctrl-C, and so are all its children: the tests
# that interrupt programs would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _load_guard() -> ModuleType:
    """By its file: the name `sitecustomize` may be taken by the installation's own."""
    spec = importlib.util.spec_from_file_location("network_guard", GUARD / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


network_guard = _load_guard()


@pytest.fixture(autouse=True)
def home_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own NEARFAR_HOME; children inherit it, and the network guard with it."""
    home = tmp_path_factory.mktemp("home")
    for variable in [name for name in os.environ if name.upper().startswith("NEARFAR_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("NEARFAR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("PYTHONPATH", str(GUARD))
    return home


@pytest.fixture(scope="session", autouse=True)
def no_connection_is_left() -> Iterator[None]:
    """Pools of connections that live on the portal's loop are closed before the process ends."""
    yield
    module = sys.modules.get("nearfar.llm.portal")
    if module is not None:
        module.portal.close()


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The folder of the chat model that comes with the package."""
    from nearfar.llm.local.catalog import find_model
    from nearfar.settings import Settings

    return Path(find_model("builtin", Settings()).folder)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One Postgres for all tests of the session."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """A database that tests share."""
    return postgres_server.url


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> str:
    """A database of the test's own, as far as it can see."""
    return postgres_server.new_schema()


@dataclass(frozen=True)
class CliResult:
    """What a command left behind."""

    rc: int
    out: str
    err: str

    def __iter__(self) -> Iterator[Any]:
        return iter((self.rc, self.out, self.err))

    @property
    def json(self) -> Any:
        """Standard output as the one JSON object it must be."""
        return json.loads(self.out)


Cli = Callable[..., CliResult]


@pytest.fixture
def cli(home_folder: Path, tmp_path: Path) -> Cli:
    """Runs a command line in a process of its own and gives its code and both outputs.

    ``cwd`` is ``tmp_path`` unless given; ``env`` is added to the environment; ``input`` is text for
    standard input.
    """

    def run(
        *args: str,
        cwd: Path = tmp_path,
        env: dict[str, str] | None = None,
        input: str | None = None,  # noqa: A002  # subprocess calls it that
        timeout_s: float = 120,
    ) -> CliResult:
        command: Sequence[str] = [sys.executable, "-m", "nearfar.cli.main", *args]
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )
        return CliResult(done.returncode, done.stdout, done.stderr)

    return run


def workers() -> list[psutil.Process]:
    """Model worker processes that this process or its children started and that are still alive."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if WORKER_MODULE in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def _no_worker_is_left() -> None:
    """Registered before the engine registers its own: exit functions run last in, first out."""
    _gone, left = psutil.wait_procs(workers(), timeout=10)
    if left:
        for process in left:
            process.kill()
        sys.stderr.write(f"\nworker processes were left behind: {[p.pid for p in left]}\n")
        sys.stderr.flush()
        os._exit(1)


atexit.register(_no_worker_is_left)
