"""The worker lives exactly as long as the program needs it, however the program ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from .engine_kit import until

BEGIN = """
import os, signal, sys, time
from pathlib import Path
from nearfar.llm.local.engine import Engine, EngineOptions, GenerationRequest

engine = Engine.shared(EngineOptions(Path(sys.argv[1]), execution_providers=("cpu",)))
stream = engine.generate(GenerationRequest(tuple(range(10, 40)), 1900))
next(stream)
print(engine.info().pid, flush=True)
"""

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are of Unix")


class Program:
    """A script without a ``__main__`` guard, that has a worker in the middle of a reply."""

    def __init__(self, model: Path, tmp_path: Path, end: str) -> None:
        script = tmp_path / "program.py"
        script.write_text(BEGIN + textwrap.dedent(end), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(model)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=sys.platform != "win32",
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.worker = int(line)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def worker_is_gone(self) -> bool:
        try:
            return psutil.Process(self.worker).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(7)", 7),
        ("raise ValueError('a defect')", 1),
        ("os._exit(5)", 5),
        ("engine.close(); engine.close()", 0),
    ],
)
def test_no_worker_is_left_when_the_program_ends(
    slow_model: Path, tmp_path: Path, end: str, code: int
) -> None:
    program = Program(slow_model, tmp_path, end)
    returned, _, err = program.finish()
    until(program.worker_is_gone, timeout_s=10)
    assert returned == code
    assert ("a defect" in err) == ("a defect" in end)
    assert "Fatal" not in err
    assert err == "" or code == 1


@unix_only
def test_no_worker_is_left_when_the_program_is_killed(slow_model: Path, tmp_path: Path) -> None:
    program = Program(slow_model, tmp_path, "time.sleep(60)")
    program.process.kill()
    program.finish()
    until(program.worker_is_gone, timeout_s=10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_not_even_a_stopped_worker_is_left(slow_model: Path, tmp_path: Path) -> None:
    program = Program(slow_model, tmp_path, "time.sleep(60)")
    os.kill(program.worker, signal.SIGSTOP)
    program.process.kill()
    program.finish()
    until(program.worker_is_gone, timeout_s=10)


@unix_only
def test_ctrl_c_is_the_program_s_to_answer(slow_model: Path, tmp_path: Path) -> None:
    end = """
    try:
        print("now", flush=True)
        for _ in stream:
            pass
    except KeyboardInterrupt:
        before = engine.info().pid
        count = sum(1 for _ in engine.generate(GenerationRequest((10, 11, 12), 3)))
        print(before, count, flush=True)
        raise
    """
    program = Program(slow_model, tmp_path, end)
    assert program.process.stdout is not None
    assert program.process.stdout.readline() == "now\n"
    os.killpg(program.process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    code, out, err = program.finish()
    assert code != 0
    assert out.split()[0] == str(program.worker), "the worker took the signal too"
    assert "KeyboardInterrupt" in err
    assert "worker" not in err.replace(str(tmp_path), "").partition("Traceback")[0]
    until(program.worker_is_gone, timeout_s=10)


@unix_only
def test_a_forked_child_gets_a_worker_of_its_own(slow_model: Path, tmp_path: Path) -> None:
    end = """
    import warnings
    warnings.simplefilter("ignore")
    child = os.fork()
    if child == 0:
        mine = engine.info().pid
        text = "".join(getattr(i, "text", "") for i in engine.generate(GenerationRequest((10, 11, 12), 5)))
        print("child", mine, repr(text), flush=True)
        engine.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    for _ in range(20):
        next(stream)
    stream.close()
    text = "".join(getattr(i, "text", "") for i in engine.generate(GenerationRequest((10, 11, 12), 5)))
    print("parent", engine.info().pid, repr(text), status, flush=True)
    """
    program = Program(slow_model, tmp_path, end)
    code, out, err = program.finish()
    assert (code, err) == (0, "")
    child, parent = (line.split(" ", 2) for line in out.splitlines())
    assert parent[1] == str(program.worker)
    assert child[1] != parent[1]
    assert parent[2] == f"{child[2]} 0"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_forked_child_does_not_keep_the_worker_alive(slow_model: Path, tmp_path: Path) -> None:
    end = """
    import warnings
    warnings.simplefilter("ignore")
    if os.fork() == 0:
        sys.stdout.close(), sys.stderr.close(), os.close(1), os.close(2)
        time.sleep(20)
        os._exit(0)
    os._exit(0)
    """
    program = Program(slow_model, tmp_path, end)
    program.finish()
    begin = time.monotonic()
    until(program.worker_is_gone, timeout_s=10)
    assert time.monotonic() - begin < 10
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path / "program.py") in (process.info["cmdline"] or []):
            process.kill()
