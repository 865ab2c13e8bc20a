"""From what a model server says or does wrong to one of our errors: one table for all of them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nearfar.errors import (
    AuthenticationError,
    BrokenReplyError,
    ContentFilteredError,
    ContextTooLongError,
    NearfarError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedRequestError,
    RequestTooLargeError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamFaultError,
    UpstreamNotFoundError,
    UpstreamTimeoutError,
)
from nearfar.llm.retry_after import parse_retry_after

_QUOTA_CODES = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_error",
    "credit_exhausted",
}
_RATE_CODES = {"rate_limit_error", "rate_limit_exceeded"}
_OVERLOAD_CODES = {"overloaded_error", "overloaded"}
_CONTEXT_CODES = {"context_length_exceeded", "context_window_exceeded"}
_CONTEXT_WORDS = (
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
    "maximum number of tokens",
)
_FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}


@dataclass(frozen=True)
class Origin:
    """Who was asked: named in every error. ``secret`` is the key, which no message may repeat."""

    provider: str
    model: str
    secret: str = field(default="", repr=False)

    def error(
        self, kind: type[UpstreamError], message: str, fault: str, **data: Any
    ) -> UpstreamError:
        """An error of ``kind`` that begins with who it is about; data that is None is left out."""
        known = {k: v for k, v in data.items() if v is not None}
        return kind(
            f"{self.provider} ({self.model}): {redacted(message, self.secret)}",
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

    def from_exception(self, error: BaseException, *, begun: bool) -> NearfarError:
        """The error of any library's exception; ``begun``: something of the reply had come.

        An error of ours is returned as it is. An SDK's exception often hides the transport's: the
        first of the chain of causes that says something decides. A bare TimeoutError says less than
        what was made of it: only that knows whether there was a connection yet.
        """
        silent = None
        for link in _chain(error):
            if isinstance(link, NearfarError):
                return link
            if (found := self._recognised(link, begun=begun)) is None:
                continue
            if type(link) is not TimeoutError:
                return found
            silent = found
        if silent is not None:
            return silent
        return self.error(UpstreamFaultError, f"{type(error).__name__}: {_short(error)}", "unknown")

    def _recognised(self, error: BaseException, *, begun: bool) -> UpstreamError | None:
        names = _names(error)
        for known, kind, message, fault in _TRANSPORT:
            if names & known:
                return self.error(kind, message, fault)
        if names & _SILENT:
            fault = "stall" if begun else "silence"
            return self.error(UpstreamTimeoutError, "the server fell silent", fault)
        if names & _BROKEN and begun:
            return self.error(BrokenReplyError, "the connection ended in mid-reply", "cut")
        if names & _BROKEN:
            words = "the connection broke before a reply"
            return self.error(UpstreamConnectionError, words, "reset")
        return self._answered(error, names)

    def _answered(self, error: BaseException, names: set[str]) -> UpstreamError | None:
        """The error of an exception that holds a server's response."""
        response = getattr(error, "response", None)
        # google-genai calls it `code`, aiohttp `status`; elsewhere these words mean other things.
        word = next((w for kind, w in _STATUS_WORDS.items() if kind in names), "status_code")
        status = getattr(error, word, None)
        if not isinstance(status, int):
            return None
        body = getattr(error, "body", None)
        detail = body if isinstance(body, Mapping) else {"message": _short(error)}
        if 400 <= status < 600:
            return self.from_status(status, getattr(response, "headers", None) or {}, detail)
        # An error inside a reply that began well comes with the status of its beginning.
        return self.from_event(detail) if isinstance(body, Mapping) else None


_STATUS_WORDS = {"google.APIError": "code", "ClientResponseError": "status"}

# By class name, so that no SDK has to be imported to recognise its exceptions. The names are those
# of aiohttp, httpx, httpx2, requests and the standard library.
_TRANSPORT: tuple[tuple[frozenset[str], type[UpstreamError], str, str], ...] = (
    (
        frozenset({"ConnectionTimeoutError", "ConnectTimeout"}),
        UpstreamTimeoutError,
        "no connection in time",
        "connect_timeout",
    ),
    (
        frozenset({"ClientConnectorDNSError", "gaierror"}),
        UpstreamConnectionError,
        "the server's name is not known",
        "dns",
    ),
    (
        frozenset({"ClientSSLError", "SSLError", "ServerFingerprintMismatch"}),
        UpstreamConnectionError,
        "no trusted TLS connection could be made",
        "tls",
    ),
    (
        frozenset({"ClientConnectorError", "ConnectError", "ConnectionRefusedError"}),
        UpstreamConnectionError,
        "the server refused the connection",
        "refused",
    ),
    (
        frozenset(
            {
                "JSONDecodeError",
                "APIResponseValidationError",
                "UnknownApiResponseError",
                "DecodingError",
                "SSEError",
                "ContentTypeError",
            }
        ),
        BrokenReplyError,
        "the reply is not what the protocol says",
        "malformed",
    ),
    (
        frozenset(
            {"InvalidURL", "NonHttpUrlClientError", "UnsupportedProtocol", "TooManyRedirects"}
        ),
        UpstreamNotFoundError,
        "the server's address cannot be used",
        "not_found",
    ),
    (
        frozenset({"ContextOverflowError"}),
        ContextTooLongError,
        "the prompt is too long",
        "context",
    ),
    (
        frozenset({"ContentFilterFinishReasonError", "OpenAIRefusalError"}),
        ContentFilteredError,
        "the provider's content filter stopped the reply",
        "content_filter",
    ),
    (
        frozenset({"ollama.RequestError"}),
        RejectedRequestError,
        "the request is wrong",
        "rejected",
    ),
)
_SILENT = frozenset(
    {
        "TimeoutError",
        "ReadTimeout",
        "WriteTimeout",
        "PoolTimeout",
        "TimeoutException",
        "APITimeoutError",
    }
)
_BROKEN = frozenset(
    {
        "aiohttp.ClientError",
        "ConnectionError",
        "NetworkError",
        "ProtocolError",
        "OSError",
        "APIConnectionError",
        "TransportError",
        "StreamError",
        "EofStream",
        "ContinuationInterruptedError",
    }
)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the innermost first: the transport knows more than the SDK."""
    links = [error]
    while len(links) < 8 and (cause := links[-1].__cause__ or links[-1].__context__):
        links.append(cause)
    return reversed(links)


def _names(error: BaseException) -> set[str]:
    """The names of the error's classes, bare and with their package."""
    kinds = type(error).__mro__
    return {k.__name__ for k in kinds} | {
        f"{k.__module__.split('.', 1)[0]}.{k.__name__}" for k in kinds
    }


_KEYS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|key|api)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}|\b[Bb]earer\s+\S+"
)


def redacted(text: str, secret: str = "") -> str:
    """``text`` without the key, and without anything that looks like one."""
    if len(secret) >= 4:
        text = text.replace(secret, "[key]")
    return _KEYS.sub("[key]", text)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


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
    (lambda s: s.status == 429 or bool(s.codes & _RATE_CODES), RateLimitedError, "rate_limit"),
    (lambda s: s.status in {401, 403}, AuthenticationError, "auth"),
    (
        lambda s: bool(s.codes & _CONTEXT_CODES) or any(w in s.words for w in _CONTEXT_WORDS),
        ContextTooLongError,
        "context",
    ),
    (lambda s: s.status == 413, RequestTooLargeError, "too_large"),
    (lambda s: bool(s.codes & _FILTER_CODES), ContentFilteredError, "content_filter"),
    (lambda s: s.status == 404, UpstreamNotFoundError, "not_found"),
    (lambda s: s.status == 408, UpstreamTimeoutError, "silence"),
    (
        lambda s: s.status in {503, 529} or bool(s.codes & _OVERLOAD_CODES),
        UpstreamFaultError,
        "overloaded",
    ),
    (lambda s: s.status >= 500, UpstreamFaultError, "server"),
)


def _kind_of(status: int, detail: Mapping[str, Any]) -> tuple[type[UpstreamError], str]:
    codes = frozenset(str(detail.get(key) or "").lower() for key in ("code", "type"))
    said = _Said(status, codes, _words(detail).lower())
    for holds, kind, fault in _RULES:
        if holds(said):
            return kind, fault
    return RejectedRequestError, "rejected"
