"""A byte-level BPE tokenizer for models that were never trained.

It is real: every byte sequence encodes and decodes exactly (there is no normaliser), digits stand
alone as in the Qwen2 family, and letters merge into tokens of up to a few letters.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
END_OF_TURN = "<|im_end|>"
PADDING = "<|endoftext|>"
SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + 256

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The merges that come first: frequent English pairs, so that a small vocabulary also shortens text.
_FREQUENT = [
    "th",
    "he",
    "in",
    "er",
    "an",
    "re",
    "on",
    "at",
    "en",
    "nd",
    "ti",
    "es",
    "or",
    "te",
    "of",
    "ed",
    "is",
    "it",
    "al",
    "ar",
    "st",
    "to",
    "nt",
    "ng",
    "se",
    "ha",
    "as",
    "ou",
    "io",
    "le",
    "ve",
    "co",
    "me",
    "de",
    "hi",
    "ri",
    "ro",
    "ic",
    "ne",
    "ea",
    "ra",
    "ce",
    "li",
    "ch",
    "ll",
    "be",
    "ma",
    "si",
    "om",
    "ur",
]

_LETTERS = "etaoinshrdlcumwfgypbvkjxqz"

CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
You can call tools. Answer with a call as
<tool_call>{"name": NAME, "arguments": {...}}</tool_call>
{%- for tool in tools %}
{{ (tool.function if tool.function is defined else tool) | tojson }}
{%- endfor %}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
{%- set call = call.function if call.function is defined else call %}
<tool_call>{"name": "{{ call.name }}", "arguments": \
{{ call.arguments if call.arguments is string else call.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in GPT-2's byte-level alphabet, by byte value."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(256)
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs to merge, most useful first; each pair makes a token that no earlier pair made."""
    space = byte_alphabet()[ord(" ")]
    yield from ((pair[0], pair[1]) for pair in _FREQUENT)
    yield from ((space, letter) for letter in _LETTERS)
    seen = set(_FREQUENT)
    words = [a + b for a, b in itertools.product(_LETTERS, repeat=2)]
    yield from ((word[0], word[1]) for word in words if word not in seen)
    while True:
        yield from ((space + word[0], word[1:]) for word in words)
        yield from ((word, letter) for word in words for letter in _LETTERS)
        words = [word + letter for word in words for letter in _LETTERS]


def tokenizer_json(vocab_size: int) -> dict[str, Any]:
    """The content of tokenizer.json; ``vocab_size`` counts the special tokens."""
    vocab = [*SPECIAL_TOKENS, *byte_alphabet()]
    merges = list(itertools.islice(_merges(), vocab_size - len(vocab)))
    vocab += [left + right for left, right in merges]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, token in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _SPLIT},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(vocab)},
            "merges": [list(pair) for pair in merges],
        },
    }


def write_tokenizer(folder: Path, *, vocab_size: int, context_length: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into ``folder``."""
    config = {
        "add_prefix_space": None,
        "bos_token": None,
        "eos_token": END_OF_TURN,
        "extra_special_tokens": [
            token for token in SPECIAL_TOKENS if token not in (END_OF_TURN, PADDING)
        ],
        "model_max_length": context_length,
        "pad_token": PADDING,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": PADDING,
    }
    contents = {
        "tokenizer.json": json.dumps(tokenizer_json(vocab_size), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(config, indent=2),
        "chat_template.jinja": CHAT_TEMPLATE,
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
