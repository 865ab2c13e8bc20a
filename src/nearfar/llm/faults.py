"""From what a model server says or does wrong to one of our errors: one table for all of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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

    def from_exception(self, error: BaseException, *, begun: bool) -> NearfarError:
        """The error of any library's exception; ``begun``: something of the reply had come.

        An error of ours is returned as it is. An SDK's exception often hides the transport's: the
        first of the chain of causes that says something decides.
        """
        for link in _chain(error):
            if isinstance(link, NearfarError):
                return link
            if (found := self._recognised(link, begun=begun)) is not None:
                return found
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
        # google-genai calls it `code`; in other libraries that word means other things.
        status = getattr(error, "code" if "google.APIError" in names else "status_code", None)
        if isinstance(status, int) and 400 <= status < 600:
            headers = getattr(getattr(error, "response", None), "headers", None) or {}
            body = getattr(error, "body", None)
            detail = body if isinstance(body, Mapping) else {"message": _short(error)}
            return self.from_status(status, headers, detail)
        return None


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
        frozenset({"ClientSSLError", "SSLError"}),
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
        frozenset({"JSONDecodeError", "APIResponseValidationError"}),
        BrokenReplyError,
        "the reply is not what the protocol says",
        "malformed",
    ),
)
_SILENT = frozenset({"TimeoutError", "ReadTimeout", "WriteTimeout", "PoolTimeout"})
_BROKEN = frozenset(
    {
        "aiohttp.ClientError",
        "ConnectionError",
        "NetworkError",
        "ProtocolError",
        "OSError",
        "APIConnectionError",
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
