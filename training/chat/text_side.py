"""Examples as tokens: the model's own template and tokenizer, and which tokens are learned fully."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.items import Item
from tokenizers import Tokenizer

HERE = Path(__file__).parent
ASSET = HERE / "asset"
END = "<|im_end|>"


@lru_cache
def _template() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string((ASSET / "chat_template.jinja").read_text(encoding="utf-8"))


def prompt_text(item: Item) -> str:
    """What the model is given, up to where its reply begins."""
    return str(
        _template().render(
            messages=item.messages, tools=item.tools or None, add_generation_prompt=True
        )
    )


def reply_text(item: Item) -> str:
    """What the model is to write, with the end token."""
    if isinstance(item.reply, str):
        return item.reply + END
    calls = [
        f'<tool_call>{{"name": "{call["name"]}", '
        f'"arguments": {json.dumps(call["arguments"], ensure_ascii=False)}}}</tool_call>'
        for call in item.reply
    ]
    return "".join(calls) + END


def load_tokenizer(folder: Path = ASSET) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def encode(tokenizer: Tokenizer, items: list[Item]) -> list[tuple[list[int], list[bool]]]:
    """Tokens of each example, and whether each is to be learned fully (loss 1.0) or lightly."""
    prompts = tokenizer.encode_batch_fast([prompt_text(item) for item in items])
    replies = tokenizer.encode_batch([reply_text(item) for item in items])
    encoded = []
    for item, prompt, reply in zip(items, prompts, replies, strict=True):
        full = [True] * len(reply.ids)
        if item.light:
            text = reply_text(item)
            forced = [match.span() for match in re.finditer(item.light, text)]
            for place, (start, end) in enumerate(reply.offsets):
                full[place] = not any(a <= start and end <= b for a, b in forced)
        encoded.append(([*prompt.ids, *reply.ids], [False] * len(prompt.ids) + full))
    return encoded
