"""The text side of a model folder: how a conversation becomes token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from . import messages as shapes
from .catalog import LocalModelInfo, read_model, stamps
from .dialects import Dialect, ToolSpec, detect
from .templates import ChatTemplate, load_template
from .tokenizer import TextTokenizer

_WATCHED = (
    "genai_config.json",
    "nearfar.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


@dataclass(frozen=True)
class ModelText:
    """What is known about a model without loading its weights."""

    info: LocalModelInfo
    tokenizer: TextTokenizer
    template: ChatTemplate
    dialect: Dialect

    @property
    def visible_special(self) -> tuple[int, ...]:
        """Special tokens that mark tool calls: a parser must see them in the text."""
        marks = (self.dialect.opener, self.dialect.closer, *self.dialect.also_opened_by)
        ids = self.tokenizer.marked_special
        return tuple(sorted(ids[mark] for mark in marks if mark in ids))

    def prompt(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        schema: str | None = None,
        begun: str = "",
    ) -> tuple[int, ...]:
        """Token ids of the conversation up to where the reply begins, or goes on from ``begun``.

        ``tools`` are OpenAI tool definitions; ``schema`` is the JSON schema that the reply will
        be forced into. Raises UnsupportedInputError for what the model cannot be told.
        """
        shaped = shapes.to_template(messages, self.dialect, tool_specs(tools))
        if schema and self.info.schema_prompt:
            shaped = shapes.with_note(shaped, self.info.schema_prompt.replace("{schema}", schema))
        listed = [] if self.dialect.needs_prompt else [_with_properties(tool) for tool in tools]
        shield = self.tokenizer.shield(
            [self.template.text, begun, *shapes.strings(shaped), *shapes.strings(listed)]
        )
        text = self.template.render(
            shapes.protect(shaped, shield), tools=shield.protect_all(listed)
        )
        return tuple(self.tokenizer.encode_rendered(text + shield.protect_all(begun), shield.mark))


def tool_specs(tools: Sequence[Mapping[str, Any]]) -> list[ToolSpec]:
    """OpenAI tool definitions as what the grammar and the dialects read."""
    return [
        ToolSpec(
            function["name"],
            function.get("description", ""),
            function.get("parameters") or {"type": "object", "properties": {}},
        )
        for function in (tool["function"] for tool in tools)
    ]


def _with_properties(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Templates go through ``parameters.properties``, which a schema may leave out."""
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object"}
    if "properties" in parameters:
        return tool
    return {**tool, "function": {**function, "parameters": {**parameters, "properties": {}}}}


def load_text(folder: Path) -> ModelText:
    """The text side of a folder; read again when one of its files has changed.

    Raises ModelLoadError that names the file.
    """
    return _load(folder, stamps(folder, _WATCHED))


@lru_cache(maxsize=8)
def _load(folder: Path, _stamps: object) -> ModelText:
    info = read_model(folder)
    tokenizer = TextTokenizer(folder)
    template = load_template(folder, tokenizer.special_ids)
    if info.template_variables:
        variables = {**template.variables, **info.template_variables}
        template = replace(template, variables=variables)
    dialect = detect(
        template.text,
        tokenizer.special_ids,
        info.dialect,
        json_separators=info.json_separators,
    )
    return ModelText(info, tokenizer, template, dialect)
