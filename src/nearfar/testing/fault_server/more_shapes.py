"""Two more wire shapes: Gemini's ``generateContent`` and Ollama's ``/api/chat``.

Sources: the providers' public API references.
"""

from typing import Any, ClassVar

from .script import Reply, Status
from .shapes import MESSAGES, Event, EventRole, dump, kind_of


class GoogleShape:
    """``POST /v1beta/models/MODEL:generateContent`` and ``:streamGenerateContent?alt=sse``."""

    content_type = "text/event-stream"
    _types: ClassVar[dict[str, str]] = {
        "rate_limit": "RESOURCE_EXHAUSTED",
        "quota": "RESOURCE_EXHAUSTED",
        "context": "INVALID_ARGUMENT",
        "content_filter": "INVALID_ARGUMENT",
        "auth": "UNAUTHENTICATED",
        "overloaded": "UNAVAILABLE",
        "bad_request": "INVALID_ARGUMENT",
        "not_found": "NOT_FOUND",
        "server": "INTERNAL",
    }
    _finishes: ClassVar[dict[str, str]] = {
        "stop": "STOP",
        "tool_calls": "STOP",
        "length": "MAX_TOKENS",
        "content_filter": "SAFETY",
    }

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """A response with one candidate."""
        parts = [{"text": reply.text}] if reply.text else []
        return self._response(reply, model, [*parts, *self._calls(reply)], last=True)

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """A response for each piece; the last says why it ended. There is no other end mark."""
        model = str(body.get("model", ""))
        found = [
            self._event("content", self._response(reply, model, [{"text": piece}]))
            for piece in reply.text_pieces()
        ]
        found += [
            self._event("content", self._response(reply, model, [call]))
            for call in self._calls(reply)
        ]
        last = self._response(reply, model, [{"text": ""}], last=True)
        return [*found, self._event("finish", last)]

    def error_body(self, status: Status) -> dict[str, Any]:
        """``{"error": {"code", "message", "status"}}``."""
        kind = kind_of(status)
        message = status.message or MESSAGES[kind]
        if kind == "context" and status.message is None:
            message = (
                "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."
            )
        error = {"code": status.status, "message": message, "status": self._types[kind]}
        return {"error": error}

    def error_event(self, error_type: str) -> bytes:
        """An object with ``error`` in place of a response."""
        status = Status(503 if error_type == "overloaded" else 500)
        return f"data: {dump(self.error_body(status))}\n\n".encode()

    def malformed_event(self) -> bytes:
        """A response whose object never closes."""
        return b'data: {"candidates":[\n\n'

    def _calls(self, reply: Reply) -> list[dict[str, Any]]:
        return [
            {"functionCall": {"id": c.id, "name": c.name, "args": dict(c.arguments)}}
            for c in reply.tool_calls
        ]

    def _response(
        self, reply: Reply, model: str, parts: list[dict[str, Any]], *, last: bool = False
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            reason = reply.finish_reason or "stop"
            candidate["finishReason"] = self._finishes.get(reason, reason)
        return {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": reply.input_tokens,
                "candidatesTokenCount": reply.output_tokens,
                "totalTokenCount": reply.input_tokens + reply.output_tokens,
                "cachedContentTokenCount": reply.cached_tokens,
            },
            "modelVersion": reply.model or model,
            "responseId": "response-1",
        }

    def _event(self, role: EventRole, response: dict[str, Any]) -> Event:
        return Event(role, f"data: {dump(response)}\n\n".encode())


class OllamaShape:
    """``POST /api/chat``: JSON lines."""

    content_type = "application/x-ndjson"

    def whole(self, reply: Reply, model: str) -> dict[str, Any]:
        """One object, with ``done``."""
        message = {"role": "assistant", "content": reply.text, **self._calls(reply)}
        return self._last(reply, model, message)

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """A line for each piece; the last has ``done``."""
        model = str(body.get("model", ""))
        found = [
            self._line("content", self._part(reply, model, {"role": "assistant", "content": piece}))
            for piece in reply.text_pieces()
        ]
        if reply.tool_calls:
            message = {"role": "assistant", "content": "", **self._calls(reply)}
            found.append(self._line("content", self._part(reply, model, message)))
        last = self._last(reply, model, {"role": "assistant", "content": ""})
        return [*found, self._line("finish", last)]

    def error_body(self, status: Status) -> dict[str, Any]:
        """``{"error": "words"}``."""
        return {"error": status.message or MESSAGES[kind_of(status)]}

    def error_event(self, error_type: str) -> bytes:
        """A line with ``error``."""
        return f"{dump({'error': f'the model failed: {error_type}'})}\n".encode()

    def malformed_event(self) -> bytes:
        """A line whose object never closes."""
        return b'{"message":\n'

    def _calls(self, reply: Reply) -> dict[str, Any]:
        calls = [
            {"function": {"name": c.name, "arguments": dict(c.arguments)}} for c in reply.tool_calls
        ]
        return {"tool_calls": calls} if calls else {}

    def _part(self, reply: Reply, model: str, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": reply.model or model,
            "created_at": "2025-01-01T00:00:00Z",
            "message": message,
            "done": False,
        }

    def _last(self, reply: Reply, model: str, message: dict[str, Any]) -> dict[str, Any]:
        finish = reply.finish_reason or "stop"
        return {
            **self._part(reply, model, message),
            "done": True,
            "done_reason": "stop" if finish == "tool_calls" else finish,
            "total_duration": 1_000_000,
            "prompt_eval_count": reply.input_tokens,
            "eval_count": reply.output_tokens,
        }

    def _line(self, role: EventRole, value: dict[str, Any]) -> Event:
        return Event(role, f"{dump(value)}\n".encode())
