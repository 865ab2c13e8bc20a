"""From what an OpenAI-shaped server says or does wrong to one of our errors."""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from nearfar.errors import (
    AuthenticationError,
    BrokenReplyError,
    ContentFilteredError,
    ContextTooLongError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedRequestError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamFaultError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)

from nearfar.llm.retry_after import parse_retry_after

_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "credit_exhausted"}
_CONTEXT_CODES = {"context_length_exceeded", "context_window_exceeded"}
_CONTEXT_WORDS = (
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
)
_FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}


@dataclass(frozen=True)
class Origin:
    """Who was asked: named in every error."""

    provider: str
    model: str

    def error(
        self, kind: type[UpstreamError], message: str, fault: str, **data: Any
    ) -> UpstreamError:
        """An error of ``kind`` that begins with who it is about; data that is None is left out."""
        known = {k: v for k, v in data.items() if v is not None}
        return kind(
            f"{self.provider} ({self.model}): {message}",
            data={"provider": self.provider, "model": self.model, "fault": fault, **known},
        )

    def from_status(
        self, status: int, headers: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> UpstreamError:
        """The error of a response whose status is not 2xx."""
        detail = _detail(body)
        message = _words(detail) or f"the server answered with status {status}"
        kind, fault = _kind_of(status, detail)
        return self.error(
            kind,
            message,
            fault,
            status=status,
            request_id=headers.get("x-request-id"),
            retry_after_s=parse_retry_after(headers.get("retry-after")),
            reason=detail.get("code") if kind is ContentFilteredError else None,
        )

    def from_event(self, body: Mapping[str, Any]) -> UpstreamError:
        """The error of an ``error`` object inside a reply that began as a good one."""
        detail = _detail(body)
        code = detail.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        kind, fault = _kind_of(status, detail)
        return self.error(kind, _words(detail) or "the server failed in mid-reply", fault)

    def from_exception(self, error: BaseException, *, begun: bool) -> UpstreamError:
        """The error of a transport's exception; ``begun``: the reply's headers had come."""
        if isinstance(error, UpstreamError):
            return error
        if isinstance(error, TimeoutError) and not isinstance(
            error, aiohttp.ConnectionTimeoutError
        ):
            fault = "stall" if begun else "silence"
            return self.error(UpstreamTimeoutError, "the server fell silent", fault)
        for kinds, kind, message, fault in _BEFORE_A_REPLY:
            if isinstance(error, kinds):
                return self.error(kind, message, fault)
        if begun:
            return self.error(BrokenReplyError, "the connection ended in mid-reply", "cut")
        return self.error(UpstreamConnectionError, "the connection broke before a reply", "reset")


_BEFORE_A_REPLY: tuple[
    tuple[tuple[type[BaseException], ...], type[UpstreamError], str, str], ...
] = (
    (
        (aiohttp.ConnectionTimeoutError,),
        UpstreamTimeoutError,
        "no connection in time",
        "connect_timeout",
    ),
    (
        (aiohttp.ClientConnectorDNSError, socket.gaierror),
        UpstreamConnectionError,
        "the server's name is not known",
        "dns",
    ),
    (
        (aiohttp.ClientSSLError, ssl.SSLError),
        UpstreamConnectionError,
        "no trusted TLS connection could be made",
        "tls",
    ),
    (
        (aiohttp.ClientConnectorError,),
        UpstreamConnectionError,
        "the server refused the connection",
        "refused",
    ),
)


def _detail(body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    found = (body or {}).get("error", body or {})
    if isinstance(found, Mapping):
        return found
    return {"message": str(found)}


def _words(detail: Mapping[str, Any]) -> str:
    """The server's own message, on one line and of a bounded length."""
    text = detail.get("message") or detail.get("detail") or ""
    return " ".join(str(text).split())[:500]


@dataclass(frozen=True)
class _Said:
    """What an error response says, in the words that decide what it is."""

    status: int
    codes: frozenset[str]
    words: str


_Rule = tuple[Callable[[_Said], bool], type[UpstreamError], str]

# The first rule that holds decides: a code says more than the status that it came with.
_RULES: tuple[_Rule, ...] = (
    (lambda s: s.status == 402 or bool(s.codes & _QUOTA_CODES), QuotaExhaustedError, "quota"),
    (lambda s: s.status == 429, RateLimitedError, "rate_limit"),
    (lambda s: s.status in {401, 403}, AuthenticationError, "auth"),
    (
        lambda s: (
            s.status == 413
            or bool(s.codes & _CONTEXT_CODES)
            or any(w in s.words for w in _CONTEXT_WORDS)
        ),
        ContextTooLongError,
        "context",
    ),
    (lambda s: bool(s.codes & _FILTER_CODES), ContentFilteredError, "content_filter"),
    (lambda s: s.status == 404, UpstreamNotFoundError, "not_found"),
    (lambda s: s.status == 408, UpstreamTimeoutError, "silence"),
    (lambda s: s.status in {503, 529}, UpstreamFaultError, "overloaded"),
    (lambda s: s.status >= 500, UpstreamFaultError, "server"),
)


def _kind_of(status: int, detail: Mapping[str, Any]) -> tuple[type[UpstreamError], str]:
    codes = frozenset(str(detail.get(key) or "").lower() for key in ("code", "type"))
    said = _Said(status, codes, _words(detail).lower())
    for holds, kind, fault in _RULES:
        if holds(said):
            return kind, fault
    return RejectedRequestError, "rejected"
