"""The benchmarks run and give their rows. How fast is not a test's business."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script: str, *args: str) -> dict[str, Any]:
    """Standard output must be exactly one JSON object."""
    command = [sys.executable, str(BENCHMARKS / script), "--quick", "--json", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["environment"]["versions"]["onnxruntime-genai"]
    assert all(row["value"] >= 0 for row in report["rows"] if row["unit"] != "ms")
    return report


def test_the_local_benchmark_holds_five_figures_to_a_target() -> None:
    report = run("local.py", "--rounds", "1")
    targets = {row["name"]: row["target"] for row in report["rows"] if row["target"] is not None}
    assert targets == {
        "tokens/s, ratio": 0.95,
        "first token, difference": 10,
        "second turn / cold": 0.12,
        "event loop stall p99, 192 in": 10,
        "joining / alone": 2.5,
    }
    assert isinstance(report["data"]["same_tokens"], bool)


def test_the_retrieval_benchmark_gives_its_rates() -> None:
    names = [row["name"] for row in run("retrieval.py", "--chunks", "100")["rows"]]
    assert names == ["embeddings", "question", "documents indexed", "index again", "retrieval"]


@pytest.mark.long
def test_the_durable_benchmark_compares_with_langgraph_itself() -> None:
    command = [sys.executable, "-m", "benchmarks.durable", "--quick", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200, cwd=BENCHMARKS.parent
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["chain, cpu, ours / LangGraph's"]["target"] == 0.5
    assert rows["chain, our runner: cpu a step"]["value"] > 0
