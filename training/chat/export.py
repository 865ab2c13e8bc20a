"""A checkpoint as a folder that onnxruntime-genai loads, with all that Nearfar wants beside it.

    python training/chat/export.py --checkpoint ../work/run/checkpoint.pt --out ../work/nearfar-small

int8 weights for the CPU, the table of embeddings included. The folder gets versions.json (what it was made with) and
SHA256SUMS.
"""

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from keep import whole
from network import Network, Shape
from text_side import ASSET, HERE

# Which ids the older engine refuses to find in the configuration.
_REFUSED = ("bot_token_id", "eot_token_id", "bor_token_id", "eor_token_id")
_TEXTS = ("chat_template.jinja", "nearfar.json", "tokenizer.json", "tokenizer_config.json")
_MADE_WITH = ("torch", "transformers", "tokenizers", "onnx", "onnx-ir", "onnxruntime-genai")
END, PAD = 2, 0


def load(checkpoint: Path) -> tuple[Network, dict[str, Any]]:
    """The network of a checkpoint, and how it was trained."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    network = Network(Shape(**state["shape"]))
    weights = {key: whole(value).float() for key, value in state["network"].items()}
    network.load_state_dict(weights)
    return network, {key: state[key] for key in ("steps", "tokens", "shape")}


def as_transformers(network: Network, folder: Path, asset: Path) -> None:
    """The files that transformers reads: configuration, weights, tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(**network.shape.config(), eos_token_id=END, pad_token_id=PAD)
    config.bos_token_id = None
    model = Qwen2ForCausalLM(config)
    missing, unexpected = model.load_state_dict(network.state_dict(), strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit(f"The network does not fit Qwen2: {missing} {unexpected}")
    model.tie_weights()
    model.float().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(asset / name, folder / name)


def build(source: Path, out: Path, precision: str) -> None:
    """Run onnxruntime-genai's builder."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(source), "-o", str(out), "-p", precision, "-e", "cpu", "-c", cache]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The builder failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")


def shrink_embeddings(out: Path) -> None:
    """The table of embeddings in int8 with a scale for each row: the builder leaves it in float."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(out / "model.onnx")
    graph = model.graph
    tables = {t.name: t for t in graph.initializer}
    gather = next(n for n in graph.node if n.op_type == "Gather" and "embed_tokens" in n.name)
    table = tables[gather.input[0]]
    weights = numpy_helper.to_array(table).astype(np.float32)
    scales = np.abs(weights).max(axis=1, keepdims=True) / 127
    rows = np.round(weights / np.maximum(scales, 1e-12)).astype(np.int8)
    name, given, result = table.name, gather.input[1], gather.output[0]
    made = [
        helper.make_node("Gather", [f"{name}_rows", given], [f"{name}_row"], f"{gather.name}_rows"),
        helper.make_node("Cast", [f"{name}_row"], [f"{name}_wide"], f"{gather.name}_wide", to=1),
        helper.make_node("Gather", [f"{name}_scales", given], [f"{name}_scale"], f"{gather.name}_scales"),
        helper.make_node("Mul", [f"{name}_wide", f"{name}_scale"], [result], f"{gather.name}_scaled"),
    ]  # fmt: skip
    place = list(graph.node).index(gather)
    graph.node.remove(gather)
    for offset, node in enumerate(made):
        graph.node.insert(place + offset, node)
    graph.initializer.remove(table)
    graph.initializer.append(numpy_helper.from_array(rows, f"{name}_rows"))
    graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
    for old in ("model.onnx", "model.onnx.data"):
        (out / old).unlink(missing_ok=True)
    onnx.save_model(
        model,
        out / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="model.onnx.data",
    )


def finish(out: Path, trained: dict[str, Any], asset: Path) -> None:
    """Mend the configuration; add the texts, the licence, the versions and the checksums."""
    file = out / "genai_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for name in _REFUSED:
        config["model"].pop(name, None)
    config["model"].update({"bos_token_id": PAD, "eos_token_id": END, "pad_token_id": PAD})
    config["search"].update({"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0})
    file.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    kept = {"genai_config.json", "model.onnx", "model.onnx.data"}
    for other in out.iterdir():
        if other.name not in kept:
            other.unlink()
    for name in _TEXTS:
        own = asset / name
        shutil.copy(own if own.exists() else ASSET / name, out / name)
    if (ASSET / "README.md").exists():
        shutil.copy(ASSET / "README.md", out / "README.md")
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(HERE / "licence" / name, out / name)
    made = {"python": platform.python_version(), **{name: version(name) for name in _MADE_WITH}}
    facts = {"made_with": made, "trained": trained}
    (out / "versions.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    files = sorted(path for path in out.iterdir() if path.name != "SHA256SUMS")
    for path in files:
        path.chmod(0o644)  # onnx writes weights that only their owner may read
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8", newline="\n")


def export(checkpoint: Path, out: Path, precision: str = "int8", asset: Path = ASSET) -> None:
    """The whole way from a checkpoint to a folder; ``asset`` has the tokenizer."""
    network, trained = load(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        as_transformers(network, Path(folder), asset)
        build(Path(folder), out, precision)
    if precision == "int8":
        shrink_embeddings(out)
    finish(out, trained, asset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--precision", default="int8", choices=["int8", "int4", "fp32"])
    parser.add_argument("--asset", type=Path, default=ASSET, help="where tokenizer.json is")
    given = parser.parse_args()
    torch.set_num_threads(1)
    export(given.checkpoint, given.out, given.precision, given.asset)
    size = sum(file.stat().st_size for file in given.out.iterdir())
    print(f"{given.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
