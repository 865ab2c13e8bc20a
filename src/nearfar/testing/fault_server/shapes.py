"""Two of the wire shapes that the fault server speaks: OpenAI chat completions and Anthropic messages.

Sources: the providers' public API references (chat completions with ``stream_options``; messages with
its server-sent events).
"""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from .script import Reply, Status

EventRole = Literal["open", "content", "finish", "end"]


@dataclass(frozen=True)
class Event:
    """One server-sent event, and what part of the reply it is."""

    role: EventRole
    data: bytes


class Shape(Protocol):
    """How one provider writes replies, events and errors."""

    content_type: str
    """Of a streamed reply."""

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """The body of a reply that is not streamed."""

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """The events of a streamed reply, in order, the end mark last."""

    def error_body(self, status: Status) -> dict[str, Any]:
        """The body of an error status."""

    def error_event(self, error_type: str) -> bytes:
        """An error inside a stream."""

    def malformed_event(self) -> bytes:
        """An event of the stream whose data is not JSON."""


def _pieces(text: str, size: int = 7) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


def dump(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_DEFAULT_KINDS = {
    400: "bad_request",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    422: "bad_request",
    429: "rate_limit",
    529: "overloaded",
    503: "overloaded",
}

MESSAGES = {
    "rate_limit": "Rate limit reached for requests",
    "quota": "You exceeded your current quota, please check your plan and billing details.",
    "context": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "content_filter": "The response was filtered due to the prompt triggering the content management policy.",
    "auth": "Incorrect API key provided.",
    "overloaded": "Overloaded",
    "bad_request": "Invalid value for a parameter.",
    "not_found": "The model does not exist.",
    "server": "The server had an error while processing your request.",
}


def kind_of(status: Status) -> str:
    """The kind that a status stands for."""
    return status.kind or _DEFAULT_KINDS.get(status.status, "server")


class OpenAIShape:
    """``POST /v1/chat/completions``."""

    content_type = "text/event-stream"

    _types: ClassVar[dict[str, tuple[str, str | None]]] = {
        "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
        "quota": ("insufficient_quota", "insufficient_quota"),
        "context": ("invalid_request_error", "context_length_exceeded"),
        "content_filter": ("invalid_request_error", "content_filter"),
        "auth": ("invalid_request_error", "invalid_api_key"),
        "overloaded": ("server_error", "overloaded"),
        "bad_request": ("invalid_request_error", None),
        "not_found": ("invalid_request_error", "model_not_found"),
        "server": ("server_error", None),
    }

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A ``chat.completion`` object."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": dump(dict(call.arguments))},
                }
                for call in reply.tool_calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(reply)}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": reply.model or model,
            "choices": [choice],
            "usage": self._usage(reply),
        }

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """``chat.completion.chunk`` objects, a usage chunk if it was asked for, and ``[DONE]``."""
        model = reply.model or str(body.get("model", ""))
        found = [self._chunk("open", model, {"role": "assistant", "content": ""})]
        found += [self._chunk("content", model, {"content": p}) for p in reply.text_pieces()]
        for index, call in enumerate(reply.tool_calls):
            function: dict[str, Any] = {"name": call.name, "arguments": ""}
            head = {"index": index, "id": call.id, "type": "function", "function": function}
            found.append(self._chunk("content", model, {"tool_calls": [head]}))
            for piece in _pieces(dump(dict(call.arguments))):
                part = {"index": index, "function": {"arguments": piece}}
                found.append(self._chunk("content", model, {"tool_calls": [part]}))
        found.append(self._chunk("finish", model, {}, finish=self._finish(reply)))
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {**self._head(model), "choices": [], "usage": self._usage(reply)}
            found.append(Event("finish", f"data: {dump(usage)}\n\n".encode()))
        found.append(Event("end", b"data: [DONE]\n\n"))
        return found

    def error_body(self, status: Status) -> dict[str, Any]:
        """``{"error": {"message", "type", "param", "code"}}``."""
        kind = kind_of(status)
        type_, code = self._types[kind]
        message = status.message or MESSAGES[kind]
        return {"error": {"message": message, "type": type_, "param": None, "code": code}}

    def error_event(self, error_type: str) -> bytes:
        """An object with ``error`` in place of a chunk."""
        error = {"error": {"message": "The server had an error", "type": error_type, "code": None}}
        return f"data: {dump(error)}\n\n".encode()

    def malformed_event(self) -> bytes:
        """A chunk whose object never closes."""
        return b'data: {"id":"chatcmpl-1","choices":[\n\n'

    def _finish(self, reply: Reply) -> str:
        return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")

    def _usage(self, reply: Reply) -> dict[str, Any]:
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        }

    def _head(self, model: str) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": model,
        }

    def _chunk(
        self, role: EventRole, model: str, delta: dict[str, Any], finish: str | None = None
    ) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return Event(role, f"data: {dump({**self._head(model), 'choices': [choice]})}\n\n".encode())


class AnthropicShape:
    """``POST /v1/messages``."""

    content_type = "text/event-stream"

    _types: ClassVar[dict[str, str]] = {
        "rate_limit": "rate_limit_error",
        "quota": "billing_error",
        "context": "invalid_request_error",
        "content_filter": "invalid_request_error",
        "auth": "authentication_error",
        "overloaded": "overloaded_error",
        "bad_request": "invalid_request_error",
        "not_found": "not_found_error",
        "server": "api_error",
    }
    _finishes: ClassVar[dict[str, str]] = {
        "stop": "end_turn",
        "tool_calls": "tool_use",
        "length": "max_tokens",
        "content_filter": "refusal",
    }

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A ``message`` object with content blocks."""
        content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [
            {"type": "tool_use", "id": c.id, "name": c.name, "input": dict(c.arguments)}
            for c in reply.tool_calls
        ]
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": reply.model or model,
            "content": content,
            "stop_reason": self._finish(reply),
            "stop_sequence": None,
            "usage": self._usage(reply),
        }

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """``message_start`` to ``message_stop``, a start, deltas and a stop for each block."""
        model = str(body.get("model", ""))
        start = {**self.whole(reply, model), "content": [], "stop_reason": None}
        start["usage"] = {**self._usage(reply), "output_tokens": 1}
        found = [self._event("open", "message_start", message=start)]
        index = 0
        if pieces := reply.text_pieces():
            text: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": p} for p in pieces]
            found += self._block(index, text, deltas)
            index += 1
        for call in reply.tool_calls:
            block: dict[str, Any] = {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": {},
            }
            parts = _pieces(dump(dict(call.arguments)))
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in parts]
            found += self._block(index, block, deltas)
            index += 1
        delta = {"stop_reason": self._finish(reply), "stop_sequence": None}
        usage = self._usage(reply)
        found.append(self._event("finish", "message_delta", delta=delta, usage=usage))
        found.append(self._event("end", "message_stop"))
        return found

    def error_body(self, status: Status) -> dict[str, Any]:
        """``{"type": "error", "error": {"type", "message"}}``."""
        kind = kind_of(status)
        message = status.message or MESSAGES[kind]
        if kind == "context" and status.message is None:
            message = "prompt is too long: 9000 tokens > 8192 maximum"
        return {"type": "error", "error": {"type": self._types[kind], "message": message}}

    def error_event(self, error_type: str) -> bytes:
        """An ``error`` event."""
        kind = "overloaded_error" if error_type == "overloaded" else "api_error"
        return self._event("content", "error", error={"type": kind, "message": "Overloaded"}).data

    def malformed_event(self) -> bytes:
        """A delta whose object never closes."""
        return b'event: content_block_delta\ndata: {"type":"content_block_delta",\n\n'

    def _finish(self, reply: Reply) -> str:
        if reply.finish_reason is None:
            return "tool_use" if reply.tool_calls else "end_turn"
        return self._finishes.get(reply.finish_reason, reply.finish_reason)

    def _usage(self, reply: Reply) -> dict[str, Any]:
        return {
            "input_tokens": reply.input_tokens - reply.cached_tokens,
            "output_tokens": reply.output_tokens,
            "cache_read_input_tokens": reply.cached_tokens,
            "cache_creation_input_tokens": 0,
        }

    def _block(
        self, index: int, block: dict[str, Any], deltas: list[dict[str, Any]]
    ) -> list[Event]:
        found = [self._event("open", "content_block_start", index=index, content_block=block)]
        found += [
            self._event("content", "content_block_delta", index=index, delta=d) for d in deltas
        ]
        found.append(self._event("open", "content_block_stop", index=index))
        return found

    def _event(self, role: EventRole, name: str, **fields: Any) -> Event:
        data = dump({"type": name, **fields})
        return Event(role, f"event: {name}\ndata: {data}\n\n".encode())
