"""Language models with random weights, for tests and benchmarks.

They say nothing sensible, but they are whole: a folder that onnxruntime-genai loads as it loads a
converted model, with a tokenizer, a chat template and tool-call delimiters. A grammar can force
them to say something valid, and a benchmark can give them any size.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from nearfar.errors import MissingPackageError

from ._decoder_graph import DecoderGraph, DecoderShape, Quantization
from ._tokenizer import SMALLEST_VOCABULARY, write_tokenizer

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def make_random_model(
    folder: str | Path,
    *,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int | None = None,
    vocab_size: int = 512,
    context_length: int = 2048,
    seed: int = 0,
    scale: float = 1.5,
    quantization: Quantization | None = None,
    prune_lm_head: bool = False,
    tokenizer: str | Path | None = None,
) -> Path:
    """Write a model folder and return it; the same arguments write the same bytes.

    ``intermediate`` is 3 * ``hidden`` unless given. ``scale`` multiplies the usual deviation of
    the weights: the larger it is, the more the output depends on the whole prompt and the less
    even the distribution over the next token is. ``quantization`` stores the weights of all
    linear layers in 8 or 4 bits (the embedding table stays in 32). ``prune_lm_head`` computes
    logits of the last position only, as converted models for generation do. ``tokenizer`` is a
    folder whose tokenizer and chat template are used instead of our own; ``vocab_size`` then is
    at least as large as its vocabulary.

    Raises ``MissingPackageError`` without the onnx package, ``ValueError`` for sizes that do not
    go together. Takes about a second per 50 million parameters.
    """
    _require_onnx()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is None:
        if vocab_size < SMALLEST_VOCABULARY:
            raise ValueError(f"vocab_size must be at least {SMALLEST_VOCABULARY}, not {vocab_size}")
        write_tokenizer(folder, vocab_size=vocab_size, context_length=context_length)
    else:
        vocab_size = max(vocab_size, _copy_tokenizer(Path(tokenizer), folder))
    shape = DecoderShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=3 * hidden if intermediate is None else intermediate,
        vocab_size=vocab_size,
        context_length=context_length,
    )
    _check(shape, quantization)
    DecoderGraph(
        shape, seed=seed, scale=scale, quantization=quantization, prune_lm_head=prune_lm_head
    ).save(folder)
    config = _genai_config(shape, *_end_and_padding(folder))
    (folder / "genai_config.json").write_text(
        json.dumps(config, indent=1), encoding="utf-8", newline="\n"
    )
    return folder


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingPackageError(
            "Making a model with random weights needs the onnx package.",
            remedy="Install it: pip install 'nearfar[testing]'.",
            data={"package": "onnx"},
        ) from error


def _check(shape: DecoderShape, quantization: Quantization | None) -> None:
    if shape.hidden % shape.heads or shape.heads % shape.kv_heads:
        raise ValueError("hidden must be a multiple of heads, and heads a multiple of kv_heads")
    if shape.head_size % 8:  # the rotary kernel wants whole vectors
        raise ValueError(f"hidden / heads must be a multiple of 8, not {shape.head_size}")
    if quantization is not None and (shape.hidden % 32 or shape.intermediate % 32):
        raise ValueError("quantized weights need hidden and intermediate to be multiples of 32")


def _copy_tokenizer(source: Path, folder: Path) -> int:
    """Copy the files that are there; returns the size of the vocabulary."""
    for name in _TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = [*content["model"]["vocab"].values(), *(t["id"] for t in content["added_tokens"])]
    return int(max(ids)) + 1


def _end_and_padding(folder: Path) -> tuple[int, int]:
    """The ids of the end and padding tokens, as tokenizer_config.json names them."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    ids = {token["content"]: int(token["id"]) for token in content["added_tokens"]}

    def named(key: str) -> int | None:
        token = config.get(key)
        return ids.get(token["content"] if isinstance(token, dict) else token)

    end = named("eos_token")
    if end is None:
        raise ValueError(f"{folder}/tokenizer_config.json names no end token of the tokenizer")
    padding = named("pad_token")
    return end, end if padding is None else padding


def _genai_config(shape: DecoderShape, end: int, padding: int) -> dict[str, Any]:
    """Only keys that every supported onnxruntime-genai knows; an unknown one fails the load."""
    return {
        "model": {
            "bos_token_id": padding,
            "context_length": shape.context_length,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": "model.onnx",
                "head_size": shape.head_size,
                "hidden_size": shape.hidden,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
                "num_attention_heads": shape.heads,
                "num_hidden_layers": shape.layers,
                "num_key_value_heads": shape.kv_heads,
            },
            "eos_token_id": end,
            "pad_token_id": padding,
            "type": "qwen2",
            "vocab_size": shape.vocab_size,
        },
        "search": {
            "do_sample": False,
            "max_length": shape.context_length,
            "min_length": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "past_present_share_buffer": True,
            "repetition_penalty": 1.0,
            "temperature": 1.0,
            "top_k": 50,
            "top_p": 1.0,
        },
    }
