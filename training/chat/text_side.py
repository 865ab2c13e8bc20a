"""Examples as tokens: the model's own template and tokenizer, and which tokens are learned fully."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from data.items import Item
from tokenizers import Tokenizer

HERE = Path(__file__).parent
ASSET = HERE / "asset"  # what every exported model gets: template, declaration, tokenizer
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer.json"
END = "<|im_end|>"


class TextSide:
    """The template and the tokenizer of a folder."""

    def __init__(self, folder: Path = ASSET) -> None:
        self.folder = folder

    @cached_property
    def _template(self) -> Any:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        return environment.from_string((ASSET / TEMPLATE).read_text(encoding="utf-8"))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.folder / TOKENIZER))

    def prompt(self, item: Item) -> str:
        """What the model is given, up to where its reply begins."""
        tools = item.tools or None
        rendered = self._template.render(
            messages=item.messages, tools=tools, add_generation_prompt=True
        )
        return str(rendered)

    @staticmethod
    def reply(item: Item) -> str:
        """What the model is to write, with the end token."""
        if isinstance(item.reply, str):
            return item.reply + END
        calls = [
            f'<tool_call>{{"name": "{call["name"]}", '
            f'"arguments": {json.dumps(call["arguments"], ensure_ascii=False)}}}</tool_call>'
            for call in item.reply
        ]
        return "".join(calls) + END

    def encode(self, items: list[Item]) -> list[tuple[list[int], list[bool]]]:
        """Tokens of each example, and whether each is to be learned fully (loss 1.0) or lightly."""
        prompts = self.tokenizer.encode_batch_fast([self.prompt(item) for item in items])
        replies = self.tokenizer.encode_batch([self.reply(item) for item in items])
        encoded = []
        for item, prompt, reply in zip(items, prompts, replies, strict=True):
            full = [True] * len(reply.ids)
            if item.light:
                forced = [match.span() for match in re.finditer(item.light, self.reply(item))]
                for place, (start, end) in enumerate(reply.offsets):
                    full[place] = not any(a <= start and end <= b for a, b in forced)
            encoded.append(([*prompt.ids, *reply.ids], [False] * len(prompt.ids) + full))
        return encoded
