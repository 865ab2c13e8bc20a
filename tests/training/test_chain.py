"""The whole way from invented examples to a model that answers, at a tiny size.

It needs torch, which is no dependency of Nearfar: the tests make an environment for it, from the
pinned requirements, and say why they are skipped where those are not to be had.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from nearfar.llm import LocalChatModel

from .conftest import CHAT

REQUIREMENTS = CHAT / "requirements.txt"
pytestmark = pytest.mark.timeout(600)

Run = Callable[..., str]


def _ways(folder: Path, python: Path) -> Iterator[list[list[str]]]:
    """Commands that make the environment: by uv where it is, else by pip."""
    wanted = ["-r", str(REQUIREMENTS)]
    if uv := shutil.which("uv"):
        links = os.environ.get("PIP_FIND_LINKS", "").split()
        found = [part for link in links for part in ("--find-links", link)]
        venv = [uv, "venv", "-q", "--clear", "-p", sys.executable, str(folder)]
        yield [venv, [uv, "pip", "install", "-q", "-p", str(python), *wanted, *found]]
    venv = [sys.executable, "-m", "venv", "--clear", str(folder)]
    pip = [str(python), "-m", "pip", "install", "-q", "--retries", "0", *wanted]
    yield [venv, pip]


def _install(folder: Path, python: Path) -> str:
    """Make the environment; an empty text, or why it cannot be made."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    problem = ""
    for commands in _ways(folder, python):
        for command in commands:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                problem = done.stderr.strip() or done.stdout.strip() or "no reason given"
                break
        else:
            return ""
    return problem.splitlines()[-1]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program with torch, one thread, and gives what it printed."""
    folder = tmp_path_factory.mktemp("torch") / "env"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if problem := _install(folder, python):
        pytest.skip(f"the training environment cannot be installed here: {problem}")

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [str(python), *map(str, arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def chain(trainer: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenizer, shards, a run that is stopped and goes on, and the exported folder."""
    work = tmp_path_factory.mktemp("chain")
    asset, data, run = work / "asset", work / "data", work / "run"
    trainer(CHAT / "make_tokenizer.py", "--count", 300, "--folder", asset)
    pack = (CHAT / "pack.py", "--out", data, "--asset", asset, "--tokens", 65_536)
    trainer(*pack, "--length", 256, "--count", 2)
    train: list[object] = [CHAT / "train.py", "--data", data, "--out", run, "--report", 5]
    train += ["--tokenizer", asset / "tokenizer.json"]
    train += ["--layers", 2, "--width", 64, "--hidden", 128, "--parts", 1, "--warmup", 5]
    trainer(*train, "--plan", "256:0.06")
    trainer(*train, "--plan", "256:0.05", "--decay", 50_000)
    checkpoint = run / "checkpoint.pt"
    export = ("--checkpoint", checkpoint, "--out", work / "model", "--asset", asset)
    printed = trainer(Path(__file__).parent / "check_network.py", CHAT, *export)
    (work / "export.txt").write_text(printed, encoding="utf-8")
    return work


def test_the_loss_falls_and_a_stopped_run_goes_on_where_it_was(chain: Path) -> None:
    log = (chain / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in log]
    assert steps[-1]["reply"] < steps[0]["reply"] - 0.5
    assert [s["step"] for s in steps] == sorted({s["step"] for s in steps})
    assert steps[-1]["tokens"] > 100_000
    assert steps[0]["rate"] == 1
    assert steps[-1]["rate"] < 0.3


def test_the_exported_folder_is_a_model_that_nearfar_runs(chain: Path) -> None:
    folder = chain / "model"
    declared = json.loads((folder / "nearfar.json").read_text(encoding="utf-8"))
    model = LocalChatModel(model=str(folder), max_tokens=20)
    assert model.info.name == declared["name"]
    reply = model.invoke([HumanMessage("Hello")])
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["output_tokens"] > 0
    call = model.bind_tools([{"title": "ring", "description": "Ring.", "properties": {}}])
    forced = call.bind(tool_choice="any").invoke("Ring.")
    assert [c["name"] for c in forced.tool_calls] == ["ring"]
    made = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    assert made["trained"]["tokens"] > 100_000
    assert {"torch", "onnxruntime-genai"} <= made["made_with"].keys()


def test_the_evaluation_measures_the_exported_model(chain: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    question = {
        "question": "When is tea served?",
        "passages": ["The house is old. Tea is served at four.", "Bread costs two coins."],
        "answer_sentence": "Tea is served at four.",
        "n": 1,
    }
    questions.write_text(json.dumps(question) + "\n", encoding="utf-8")
    command = [sys.executable, str(CHAT / "evaluate.py"), "--model", str(chain / "model")]
    command += ["--count", "2", "--questions", str(questions), "--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    measured = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert measured["rows"]["tool"]["count"] == 2
    assert measured["rows"]["questions"]["count"] == 1
    low, high = measured["rows"]["tool"]["interval"]
    assert 0 <= low < high <= 1
    assert measured["size_mb"] < 16
    assert measured["speed"]["decode_tokens_per_s"] > 0
    assert "| right tool among 1 to 6" in done.stdout


def test_the_network_is_qwen2s_and_packed_documents_do_not_see_each_other(chain: Path) -> None:
    """Compared in the process that exports; see check_network.py."""
    assert (chain / "export.txt").read_text(encoding="utf-8").startswith("equal\n")
