"""The worker never opens a network socket: watched from outside Python, system call by system call.

The library's vendor telemetry is native code, which no guard inside Python would see.
"""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

GENERATE = """
import sys
from pathlib import Path
from nearfar.llm.local.engine import Engine, EngineOptions, GenerationRequest

engine = Engine.shared(EngineOptions(Path(sys.argv[1])))
for grammar in (None, 'start: "yes" | "no"'):
    list(engine.generate(GenerationRequest(tuple(range(10, 300)), 20, grammar=grammar)))
print(engine.info().pid)
"""

CONNECT = """
import ctypes, socket, sys
libc = ctypes.CDLL(None)  # as native code does it: no Python guard is asked
address = bytes((2, 0)) + int(sys.argv[1]).to_bytes(2, "big") + bytes((127, 0, 0, 1)) + bytes(8)
libc.connect(libc.socket(2, 1, 0), address, 16)
print(0)
"""

_NETWORK = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg|bind|socket)\(.*AF_INET6?\b")


def traced(tmp_path: Path, script: str, argument: str) -> tuple[str, list[str]]:
    """The script's output, and the system calls of it and its children that touch the network."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    program, log = tmp_path / "program.py", tmp_path / "calls"
    program.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [
            strace, "-f", "-qq", "-o", str(log), "-e", "trace=network",
            sys.executable, str(program), argument,
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr and not done.stdout:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in log.read_text().splitlines() if _NETWORK.search(line)]


def test_a_program_that_connects_is_seen(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        _, calls = traced(tmp_path, CONNECT, str(port))
    assert any("connect(" in call and f"htons({port})" in call for call in calls)


def test_the_worker_opens_no_network_socket(tmp_path: Path, random_model: Path) -> None:
    out, calls = traced(tmp_path, GENERATE, str(random_model))
    assert int(out) > 0
    assert calls == []


def test_telemetry_is_off_before_the_library_can_be_loaded() -> None:
    script = (
        "import os, sys; import nearfar.llm.local.worker.__main__; "
        "print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime_genai' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["1", "False"]
