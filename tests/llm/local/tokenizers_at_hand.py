"""Tokenizers of the kinds that models come with, small, made on the spot."""

import json
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

ASSETS = Path(__file__).parents[3] / "src/nearfar/llm/assets"
STARTER = next(config.parent for config in sorted(ASSETS.glob("*/genai_config.json")))

_TEXT = ["the quick brown fox jumps over the lazy dog 0123456789 <>|/_[]{}\n end user system"] * 4


def byte_level(folder: Path) -> Path:
    """As Qwen's: control tokens outside of the vocabulary, one of them not called special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<tool_call>", "</tool_call>", "word"])
    return _save(tokenizer, folder)


def metaspace(folder: Path) -> Path:
    """As Llama 2's and Phi-3's: a blank before the first piece, blanks swallowed after a token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    tokenizer.add_special_tokens(
        [AddedToken("<|user|>", rstrip=True), AddedToken("<|end|>", rstrip=True, lstrip=True)]
    )
    return _save(tokenizer, folder)


def unigram(folder: Path) -> Path:
    """As T5's kind: control tokens stand among the pieces, and text is normalised before."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(character, -5.0) for character in sorted(set(_TEXT[0]) | set("▁\r\t"))]
    pieces += [("the", -3.0), ("▁the", -2.0), ("end", -2.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens([AddedToken("<sep>", normalized=True)])
    return _save(tokenizer, folder)


def _save(tokenizer: Any, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(tokenizer.to_str())
    # The trainer calls them special so that they are in the vocabulary; real models do not.
    bytes_apart = [t for t in content["added_tokens"] if not t["content"].startswith("<0x")]
    content["added_tokens"] = bytes_apart
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    return folder
