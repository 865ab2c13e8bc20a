"""Conversations as the text that a model was trained on, by the model's own chat template.

Templates come with models from anywhere, so they run in jinja2's immutable sandbox. They see what
they see in transformers: ``messages``, ``tools``, ``add_generation_prompt``, the named special
tokens, ``raise_exception``, ``strftime_now`` and a ``tojson`` that does not escape HTML.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from nearfar.errors import ModelLoadError, UnsupportedInputError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template. ``sources`` holds variants by name (``default``, ``tool_use``)."""

    sources: Mapping[str, str]
    variables: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    clock: Callable[[], datetime] = datetime.now

    @property
    def knows_tools(self) -> bool:
        """Whether the template itself says how tools are listed."""
        return any("tools" in source for source in self.sources.values())

    @property
    def text(self) -> str:
        """All variants together: what a search for a model's habits looks through."""
        return "\n".join(self.sources.values())

    def render(
        self,
        messages: Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt's text. Raises UnsupportedInputError if the template refuses the messages.

        Messages in a row of one role are joined where the template wants roles to alternate; a
        template that adds up texts gets the arguments of tool calls as text.
        """
        variables = {**self.variables, "tools": list(tools) if tools else None}
        variables["add_generation_prompt"] = add_generation_prompt
        template = self._compiled["tool_use" if tools and "tool_use" in self.sources else "default"]
        first: Exception | None = None
        for shape in (_as_they_are, _arguments_as_text, _joined):
            try:
                return str(template.render(messages=shape(messages), **variables))
            except Exception as error:  # noqa: BLE001  # a template can raise anything
                first = first or error
        raise _refusal(first) from first

    @cached_property
    def _compiled(self) -> dict[str, Any]:
        from jinja2 import TemplateError

        environment = _environment(self.clock)
        try:
            return {name: environment.from_string(text) for name, text in self.sources.items()}
        except TemplateError as error:
            raise ModelLoadError(
                f"The chat template of {self.folder} cannot be compiled: {error}",
                remedy="Put a working chat_template.jinja into the model's folder.",
                data={"folder": str(self.folder), "file": "chat_template.jinja"},
            ) from error


def load_template(folder: Path, tokens: Mapping[str, int]) -> ChatTemplate:
    """The template of a model folder; ``tokens`` are the tokenizer's added tokens.

    ``chat_template.jinja`` comes before ``chat_template.json`` and ``tokenizer_config.json``. A
    folder without any gets ChatML if its tokenizer has ChatML's tokens, else ModelLoadError.
    """
    config = _read_json(folder / "tokenizer_config.json")
    variables = {name: _token_text(config.get(name)) for name in _NAMED_TOKENS}
    file = folder / "chat_template.jinja"
    declared = (
        file.read_text(encoding="utf-8")
        if file.is_file()
        else _read_json(folder / "chat_template.json").get("chat_template")
        or config.get("chat_template")
    )
    if isinstance(declared, list):
        sources = {entry["name"]: entry["template"] for entry in declared}
    elif declared:
        sources = {"default": str(declared)}
    elif all(token in tokens for token in _CHATML_TOKENS):
        sources = {"default": CHATML}
    else:
        sources = {}
    if "default" not in sources:
        raise ModelLoadError(
            f"The model in {folder} has no chat template, and its tokenizer does not have the "
            f"tokens of ChatML ({', '.join(_CHATML_TOKENS)}).",
            remedy="Copy chat_template.jinja (or tokenizer_config.json) from where the model is from.",
            data={"folder": str(folder), "file": "chat_template.jinja"},
        )
    return ChatTemplate(sources, variables, folder)


def _environment(clock: Callable[[], datetime]) -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_extension()]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: clock().strftime(form)
    return environment


def _generation_extension() -> Any:
    """``{% generation %}`` marks the assistant's part for training; here it is only its body."""
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012  # jinja2's own way

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _refusal(error: Exception | None) -> UnsupportedInputError:
    from jinja2 import TemplateError

    if isinstance(error, TemplateError) and error.message:
        reason = error.message
    else:  # its text could hold what the messages hold
        reason = f"it failed with {type(error).__name__}"
    return UnsupportedInputError(
        f"The model's chat template does not take this conversation: {reason}",
        remedy="Order the messages as the model wants them (its template may want no system "
        "message, or roles that alternate), or use another model.",
        data={"type": "conversation"},
    )


def _as_they_are(messages: Messages) -> list[dict[str, Any]]:
    return [dict(message) for message in messages]


def _arguments_as_text(messages: Messages) -> list[dict[str, Any]]:
    return [
        {**m, "tool_calls": [_textual(c) for c in m["tool_calls"]]}
        if m.get("tool_calls")
        else dict(m)
        for m in messages
    ]


def _textual(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _to_json(function["arguments"])}}


def _joined(messages: Messages) -> list[dict[str, Any]]:
    """Plain messages in a row of one role as one, with an empty line in between."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        last = joined[-1] if joined else {}
        plain = message["role"] != "tool" and not message.get("tool_calls")
        if plain and last.get("role") == message["role"] and not last.get("tool_calls"):
            last["content"] = f"{last['content']}\n\n{message['content']}"
        else:
            joined.append(dict(message))
    return joined


def _token_text(token: Any) -> str:
    """tokenizer_config.json has a token as its text, or as an object that holds it."""
    if isinstance(token, dict):
        return str(token.get("content", ""))
    return token if isinstance(token, str) else ""


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelLoadError(
            f"{file} is not JSON: {error}",
            remedy="Copy the file again from where the model is from.",
            data={"folder": str(file.parent), "file": file.name},
        ) from error
    return content if isinstance(content, dict) else {}
