"""A sensible model server by rule: it calls the tool it must, keeps to schemas, counts its tokens."""

import json
import re
from collections.abc import Mapping
from typing import Any

from nearfar.testing.fault_server import Reply, SeenRequest, ToolCall

Schema = Mapping[str, Any]


def answer(request: SeenRequest) -> Reply:
    """The reply that a well-behaved model would give."""
    body = request.body
    last = body["messages"][-1]
    text = _text(last.get("content"))
    model = request.model
    if (tool := _tool_to_call(body, last)) is not None:
        name, schema = tool
        call = ToolCall(name, _filled(schema, schema, text), id=f"call_{len(body['messages'])}")
        return Reply("", tool_calls=[call], model=model)
    if (wanted := _format(body)) is not None:
        schema = wanted or {
            "type": "object",
            "properties": {k: {"type": "string"} for k in _quoted(text)},
        }
        return Reply(json.dumps(_filled(schema, schema, text)), model=model)
    return Reply(f"You said: {text[:40] or 'nothing'}.", model=model)


def _tool_to_call(body: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[str, Schema] | None:
    """The forced tool, or the first one where the last word is the user's."""
    tools = dict(_tool(t) for t in body.get("tools") or ())
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if not tools or kind == "none":
        return None
    if isinstance(choice, dict) and kind in {"tool", "function"}:
        name = choice.get("name") or choice["function"]["name"]
        return name, tools[name]
    if kind in {"any", "required"} or (last["role"] == "user" and not _is_result(last)):
        return next(iter(tools.items()))
    return None


def _tool(tool: Mapping[str, Any]) -> tuple[str, Schema]:
    function = tool.get("function", tool)
    return function["name"], function.get("parameters") or function.get("input_schema") or {}


def _is_result(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(b.get("type") == "tool_result" for b in content)


def _format(body: Mapping[str, Any]) -> Schema | None:
    """The schema that the reply has to follow; empty for any JSON object."""
    openai = body.get("response_format") or {}
    if openai.get("type") == "json_schema":
        return dict(openai["json_schema"]["schema"])
    if openai.get("type") == "json_object":
        return {}
    anthropic = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return anthropic.get("schema")


def _filled(schema: Schema, root: Schema, text: str) -> Any:
    if "$ref" in schema:
        return _filled(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root, text)
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], root, text)
    kind = schema.get("type", "object")
    if kind == "object":
        return {k: _filled(v, root, text) for k, v in schema.get("properties", {}).items()}
    if kind == "array":
        return [_filled(schema.get("items", {"type": "string"}), root, text)]
    if kind in {"integer", "number"}:
        return int((re.findall(r"\d+", text) or ["1"])[0])
    return {"boolean": True, "null": None}.get(kind, _words(text))


def _words(text: str) -> str:
    """Words from beyond ASCII are what a test wants to see again."""
    found = re.search(r"[^\x00-\x7f]+", text)
    return found.group() if found else "something"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'(\w+)'", text)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(b.get("text", "")) for b in content or () if isinstance(b, dict)).strip()
