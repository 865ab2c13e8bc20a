"""Answers as objects: the parser behind ``with_structured_output``.

Unlike LangChain's own parsers it takes no answer that was cut off for a whole one: those mend
JSON that ends too early.
"""

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.output_parsers.transform import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass

from .grammar.schema import ASSERTIONS


class StructuredOutputParser(BaseCumulativeTransformOutputParser[Any]):
    """JSON in the content (or in the arguments of the call of ``tool_name``) as an object.

    ``model`` is a pydantic class, or None for dicts, which are checked against
    ``json_schema`` where that is given. While an answer streams, dicts grow; an object of a
    pydantic class comes once, when it is whole.
    """

    model: Any = None
    json_schema: dict[str, Any] | None = None
    tool_name: str | None = None

    @classmethod
    def for_schema(
        cls, schema: Any, json_schema: dict[str, Any], tool_name: str | None
    ) -> "StructuredOutputParser":
        """The parser for what ``with_structured_output`` was given."""
        is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
        return cls(model=schema if is_class else None, json_schema=json_schema, tool_name=tool_name)

    @property
    def _type(self) -> str:
        return "nearfar_structured_output"

    def parse(self, text: str) -> Any:
        """The object that a whole JSON text stands for. Raises OutputParserException."""
        return self._checked(self._whole(text, {}), text)

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """The object; with ``partial`` what there is of it so far, or None."""
        message = result[0].message if isinstance(result[0], ChatGeneration) else None
        if not isinstance(message, AIMessage):
            return self.parse(result[0].text)
        if partial:
            return self._so_far(message)
        if self.tool_name is None:
            text = str(message.text)
            return self._checked(self._whole(text, message.response_metadata), text)
        for call in message.tool_calls:
            if call["name"] == self.tool_name:
                return self._checked(call["args"], json.dumps(call["args"]))
        broken = message.invalid_tool_calls
        text = (broken[0]["args"] or "") if broken else str(message.text)
        raise _failure(f"no whole call of {self.tool_name}", text, message.response_metadata)

    def _so_far(self, message: AIMessage) -> Any:
        if message.response_metadata.get("finish_reason"):  # the stream is over
            return self.parse_result([ChatGeneration(message=message)])
        if self.model is not None:
            return None
        if self.tool_name is not None:
            return message.tool_calls[0]["args"] if message.tool_calls else None
        try:
            value = parse_partial_json(message.text)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def _whole(self, text: str, metadata: Mapping[str, Any]) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise _failure(f"it is not JSON ({error})", text, metadata) from error

    def _checked(self, value: Any, text: str) -> Any:
        from pydantic import BaseModel, ValidationError
        from pydantic.v1 import ValidationError as ValidationErrorV1

        if self.model is not None:
            try:
                if issubclass(self.model, BaseModel):
                    return self.model.model_validate(value)
                return self.model.parse_obj(value)
            except (ValidationError, ValidationErrorV1) as error:
                raise _failure(f"it does not validate ({error})", text, {}) from error
        if self.json_schema is not None:
            import jsonschema

            try:
                jsonschema.validate(value, self.json_schema)
            except jsonschema.ValidationError as error:
                raise _failure(f"it does not validate ({error.message})", text, {}) from error
        return value


def structured_forms(schema: Any) -> tuple[dict[str, Any], Any]:
    """What was asked for, as a JSON schema with a title and as something to bind as a tool.

    A JSON schema is taken as it stands: LangChain asks for a title and drops all but properties.
    """
    if not isinstance(schema, Mapping) or not _is_json_schema(schema):
        return convert_to_json_schema(schema), schema
    whole = {"title": "answer", **schema}
    described = ("title", "description")
    function = {
        "name": whole["title"],
        "description": whole.get("description", ""),
        "parameters": {key: value for key, value in whole.items() if key not in described},
    }
    return whole, {"type": "function", "function": function}


def _is_json_schema(schema: Mapping[str, Any]) -> bool:
    """Not one of the ways to write a function down: those have a name, or one inside."""
    if not {"name", "function", "toolSpec"}.isdisjoint(schema) and "properties" not in schema:
        return False
    return any(keyword in schema for keyword in ASSERTIONS)


def with_raw(
    bound: Runnable[LanguageModelInput, AIMessage], parser: StructuredOutputParser
) -> Runnable[LanguageModelInput, Any]:
    """The reply, what it parses to, and the error if it does not, as a dict."""
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _failure(problem: str, text: str, metadata: Mapping[str, Any]) -> OutputParserException:
    if metadata.get("finish_reason") == "length":
        problem += "; the answer was cut off: raise max_tokens"
    return OutputParserException(f"The answer cannot be used: {problem}.", llm_output=text)
