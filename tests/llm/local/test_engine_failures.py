"""What goes wrong with the model or its process is a typed error, and the program goes on."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nearfar.errors import (
    EngineCrashedError,
    EngineMemoryError,
    EngineTimeoutError,
    ModelError,
    ModelLoadError,
    NearfarError,
    NoProviderError,
)
from nearfar.llm.local.engine import Engine

from .engine_kit import open_engine, patch_library, request, result, until

unix_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(folder: Path, **values: Any) -> None:
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"] |= values
    path.write_text(json.dumps(config))


def works(engine: Engine) -> bool:
    return result(engine.generate(request()))[2].usage.completion_tokens > 0


@unix_signals
def test_a_killed_worker_fails_its_requests_and_the_next_one_starts_another(
    slow_model: Path,
) -> None:
    with open_engine(slow_model) as engine:
        pid = engine.info().pid
        streams = [engine.generate(request(20, 2000, start=n)) for n in (1, 2)]
        for stream in streams:
            next(stream)
        os.kill(pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(EngineCrashedError) as caught:
                list(stream)
            assert caught.value.data["exit_code"] == -signal.SIGKILL
        assert works(engine)
        assert engine.info().pid != pid
        assert engine.stats().restarts == 1
        assert engine.stats().active == 0


@unix_signals
def test_what_only_waited_is_served_by_the_next_worker(slow_model: Path) -> None:
    with open_engine(slow_model, max_active=1) as engine:
        first = engine.generate(request(20, 2000))
        next(first)
        waited: list[Any] = []
        thread = threading.Thread(target=lambda: waited.extend(engine.generate(request())))
        thread.start()
        until(lambda: engine.stats().queued == 1)
        os.kill(engine.info().pid, signal.SIGKILL)
        with pytest.raises(EngineCrashedError):
            list(first)
        thread.join(30)
        assert waited[-1].usage.completion_tokens == 10
        assert engine.stats().restarts == 1


@unix_signals
def test_a_worker_without_progress_is_stopped(slow_model: Path) -> None:
    with open_engine(slow_model, hang_s=1) as engine:
        pid = engine.info().pid
        stream = engine.generate(request(20, 2000))
        next(stream)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineTimeoutError) as caught:
            list(stream)
        assert caught.value.data["limit_s"] == 1
        assert not psutil.pid_exists(pid)
        assert works(engine)


@unix_signals
def test_a_stopped_worker_that_nobody_waits_for_is_left_alone(random_model: Path) -> None:
    with open_engine(random_model, hang_s=0.3) as engine:
        pid = engine.info().pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1)  # nothing may happen: there is no condition to wait for
        os.kill(pid, signal.SIGCONT)
        assert works(engine)
        assert engine.info().pid == pid


def test_a_worker_over_its_memory_limit_is_stopped(random_model: Path) -> None:
    with open_engine(random_model, memory_limit_mb=20) as engine:
        with pytest.raises(EngineMemoryError) as caught:
            list(engine.generate(request()))
        assert caught.value.data["limit_mb"] == 20


def test_memory_that_the_library_cannot_get_fails_one_request_only(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_library(
        tmp_path,
        monkeypatch,
        """
        class Generator:
            def __init__(self, *args):
                self._real = _Real(*args)
            def __getattr__(self, name):
                return getattr(self._real, name)
            def append_tokens(self, tokens):
                if len(tokens) == 13:
                    raise RuntimeError("std::bad_alloc")
                if len(tokens) == 14:
                    raise RuntimeError("something else")
                self._real.append_tokens(tokens)
        _Real, og.Generator = og.Generator, Generator
        """,
    )
    with open_engine(random_model) as engine:
        with pytest.raises(EngineMemoryError):
            list(engine.generate(request(13)))
        with pytest.raises(ModelError, match="something else"):
            list(engine.generate(request(14)))
        assert works(engine)
        assert engine.stats().restarts == 0


BREAK_CUDA = """
    class Config:
        def __init__(self, folder):
            self._real = _Real(folder)
        def __getattr__(self, name):
            return getattr(self._real, name)
        def append_provider(self, name):
            {what}
    class Model:
        def __new__(cls, config):
            return _Model(config._real)
    _Real, og.Config = og.Config, Config
    _Model, og.Model = og.Model, Model
"""


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise RuntimeError('no such card')", "no such card"),
        ("os.abort()", "did not survive"),
        ("time.sleep(600)", "no progress"),
    ],
)
def test_a_provider_that_fails_crashes_or_hangs_is_passed_over(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, reason: str
) -> None:
    patch_library(tmp_path, monkeypatch, BREAK_CUDA.format(what=what))
    chain = ("cuda", "cpu")
    with open_engine(random_model, execution_providers=chain, load_timeout_s=3) as engine:
        info = engine.info()
        assert info.provider == "cpu"
        assert [item.provider for item in info.passed_over] == ["cuda"]
        assert reason in info.passed_over[0].reason
        assert works(engine)


def test_without_a_provider_left_the_error_lists_all_reasons(random_model: Path) -> None:
    with open_engine(random_model, execution_providers=("qnn", "cuda")) as engine:
        with pytest.raises(NoProviderError) as caught:
            engine.info()
        assert [item["provider"] for item in caught.value.data["passed_over"]] == ["qnn", "cuda"]


def test_directml_elsewhere_than_on_windows_says_so(random_model: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("there it may work")
    with open_engine(random_model, execution_providers=("dml", "cpu")) as engine:
        assert "only on Windows" in engine.info().passed_over[0].reason


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("genai_config.json", None),
        ("genai_config.json", b"{"),
        ("genai_config.json", b"[]"),
        ("genai_config.json", b'{"model": {"decoder": {}}}'),
        ("genai_config.json", b"\xff\xfe\x00"),
        ("tokenizer.json", None),
        ("tokenizer.json", b'{"model": 3}'),
        ("tokenizer.json", b"\xff\xfe\x00"),
        ("model.onnx", None),
        ("model.onnx", b"no protobuf at all"),
        ("model.onnx", b""),
        ("model.onnx.data", None),
        ("model.onnx.data", b""),
    ],
)
def test_a_missing_or_damaged_file_is_a_load_error_that_names_the_folder(
    tiny_model: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = copy(tiny_model, tmp_path)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with open_engine(folder) as engine:
        with pytest.raises(ModelLoadError) as caught:
            engine.info()
        assert caught.value.data["folder"] == str(folder)
        assert str(folder) in caught.value.message
        if name in ("genai_config.json", "tokenizer.json"):
            assert name in caught.value.message


def test_a_missing_folder_is_a_load_error(tmp_path: Path) -> None:
    with open_engine(tmp_path / "nowhere") as engine, pytest.raises(ModelLoadError):
        engine.info()


def test_a_mended_folder_loads_after_close(tiny_model: Path, tmp_path: Path) -> None:
    folder = copy(tiny_model, tmp_path)
    (folder / "tokenizer.json").rename(folder / "aside")
    with open_engine(folder) as engine:
        with pytest.raises(ModelLoadError):
            engine.info()
        (folder / "aside").rename(folder / "tokenizer.json")
        engine.close()
        assert works(engine)


def test_a_worker_that_dies_at_start_is_not_started_over_and_over(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_library(
        tmp_path,
        monkeypatch,
        "sys.stderr.write('last words'); sys.stderr.flush(); os._exit(3)",
    )
    with open_engine(random_model) as engine:
        errors: list[NearfarError] = []
        for _ in range(50):
            with pytest.raises(EngineCrashedError) as caught:
                engine.info()
            errors.append(caught.value)
        assert engine.stats().restarts < 5
        assert errors[0].data["exit_code"] == 3
        assert "last words" in errors[0].data["stderr"]
        assert errors[1].data["retry_after_s"] > 0


def test_close_is_idempotent_and_fails_what_runs(slow_model: Path) -> None:
    with open_engine(slow_model) as engine:
        stream = engine.generate(request(20, 2000))
        next(stream)
        pid = engine.info().pid
        engine.close()
        engine.close()
        assert not psutil.pid_exists(pid)
        with pytest.raises(EngineCrashedError, match="closed"):
            list(stream)
        assert works(engine)


def test_closing_while_the_model_loads_is_an_error_for_who_waits(random_model: Path) -> None:
    with open_engine(random_model) as engine:
        stream = engine.generate(request())
        worker_seen: list[Any] = []

        def ask() -> None:
            with pytest.raises(EngineCrashedError):
                list(stream)
            worker_seen.append(True)

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: engine.stats().queued == 1)
        engine.close()
        thread.join(20)
        assert worker_seen == [True]


def test_native_prints_do_not_disturb_the_pipe(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    patch_library(tmp_path, monkeypatch, "os.system('echo noise'); print('noise', flush=True)")
    with open_engine(random_model) as engine:
        assert works(engine)
    assert "noise" not in "".join(capfd.readouterr())
