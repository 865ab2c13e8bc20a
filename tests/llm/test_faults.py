"""Every exception of every SDK has its counterpart here: a new one without fails a test."""

import importlib
import inspect
import ssl
import sys
import warnings
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfar.llm.faults import Origin, redacted
from nearfar.llm.router.verdicts import TABLE

ORIGIN = Origin("p", "m")
NEVER = "unknown"
"""A root that is not raised itself, or what belongs to a part of the SDK that is not used."""
BY_NAME: dict[str, dict[str, str]] = {
    "openai": {
        "APIConnectionError": "reset",
        "APITimeoutError": "silence",
        "APIResponseValidationError": "malformed",
        "ContentFilterFinishReasonError": "content_filter",
        "APIError": NEVER,
        "OpenAIError": NEVER,
        "LengthFinishReasonError": NEVER,  # of its parse helpers
        "InvalidWebhookSignatureError": NEVER,
        "WebSocketConnectionClosedError": NEVER,
        "WebSocketQueueFullError": NEVER,
        "_AmbiguousModuleClientUsageError": NEVER,
    },
    "anthropic": {
        "APIConnectionError": "reset",
        "APITimeoutError": "silence",
        "APIResponseValidationError": "malformed",
        "APIError": NEVER,
        "AnthropicError": NEVER,
        "APIWebhookValidationError": NEVER,
        "CredentialsError": NEVER,  # of sign-in by other means than keys, as the next two
        "IdentityTokenFileError": NEVER,
        "WorkloadIdentityError": NEVER,
        "RetryableError": NEVER,
    },
    "google.genai.errors": {
        "APIError": "server",
        "ClientError": "rejected",
        "ServerError": "server",
        "UnknownApiResponseError": "malformed",
        "ContinuationInterruptedError": "reset",
        "UnknownFunctionCallArgumentError": NEVER,  # of functions called by the SDK itself
        "UnsupportedFunctionError": NEVER,
        "FunctionInvocationError": NEVER,
        "ExperimentalWarning": NEVER,
    },
    "ollama": {"RequestError": "rejected", "ResponseError": "server"},
    "aiohttp": {
        "ClientError": "reset",
        "ClientConnectionError": "reset",
        "ClientConnectionResetError": "reset",
        "ClientOSError": "reset",
        "ClientPayloadError": "reset",
        "RedirectClientError": "reset",
        "ServerConnectionError": "reset",
        "ServerDisconnectedError": "reset",
        "UploadAbortedError": "reset",
        "EofStream": "reset",
        "ClientResponseError": "reset",
        "ClientHttpProxyError": "reset",
        "WSServerHandshakeError": "reset",
        "ClientConnectorError": "refused",
        "ClientProxyConnectionError": "refused",
        "ClientConnectorDNSError": "dns",
        "ClientConnectorCertificateError": "tls",
        "ClientConnectorSSLError": "tls",
        "ClientSSLError": "tls",
        "ServerFingerprintMismatch": "tls",
        "ConnectionTimeoutError": "connect_timeout",
        "ServerTimeoutError": "silence",
        "SocketTimeoutError": "silence",
        "ContentTypeError": "malformed",
        "InvalidURL": "not_found",
        "InvalidUrlClientError": "not_found",
        "InvalidUrlRedirectClientError": "not_found",
        "NonHttpUrlClientError": "not_found",
        "NonHttpUrlRedirectClientError": "not_found",
        "TooManyRedirects": "not_found",
        "BadContentDispositionHeader": NEVER,  # warnings
        "BadContentDispositionParam": NEVER,
        "WSMessageTypeError": NEVER,
        "WebSocketError": NEVER,
    },
    "httpx2": {
        "CloseError": "reset",
        "NetworkError": "reset",
        "ProtocolError": "reset",
        "LocalProtocolError": "reset",
        "RemoteProtocolError": "reset",
        "ProxyError": "reset",
        "ReadError": "reset",
        "WriteError": "reset",
        "TransportError": "reset",
        "StreamError": "reset",
        "StreamClosed": "reset",
        "StreamConsumed": "reset",
        "RequestNotRead": "reset",
        "ResponseNotRead": "reset",
        "ConnectError": "refused",
        "ConnectTimeout": "connect_timeout",
        "PoolTimeout": "silence",
        "ReadTimeout": "silence",
        "WriteTimeout": "silence",
        "TimeoutException": "silence",
        "DecodingError": "malformed",
        "SSEError": "malformed",
        "InvalidURL": "not_found",
        "TooManyRedirects": "not_found",
        "UnsupportedProtocol": "not_found",
        "HTTPStatusError": NEVER,  # raise_for_status is not called
        "HTTPError": NEVER,
        "RequestError": NEVER,
        "CookieConflict": NEVER,
    },
}
BY_STATUS = {
    400: "rejected",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "silence",
    409: "rejected",
    412: "rejected",
    413: "too_large",
    422: "rejected",
    429: "rate_limit",
    431: "rejected",
    499: "rejected",
    500: "server",
    501: "server",
    503: "overloaded",
    504: "server",
    529: "overloaded",
}


def classes(module: str) -> list[type[BaseException]]:
    """The exceptions that the module's package defines, as far as it shows them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = importlib.import_module(module)
    package = module.split(".", maxsplit=1)[0]
    return sorted(
        {
            value
            for value in list(vars(loaded).values())
            if inspect.isclass(value)
            and issubclass(value, BaseException)
            and value.__module__.split(".")[0] == package
        },
        key=lambda kind: kind.__name__,
    )


def made(kind: type[BaseException], status: int | None) -> Any:
    """One without its constructor, which each has its own: only what the table looks at."""
    named = {"__str__": lambda _: "told", "__module__": kind.__module__}
    quiet: Any = type(kind.__name__, (kind,), named)
    error = quiet.__new__(quiet)
    if status is not None:
        error.status_code = error.code = error.status = status
    return error


@pytest.mark.parametrize("module", BY_NAME)
def test_every_exception_has_its_counterpart(module: str) -> None:
    pytest.importorskip(module)
    expected = BY_NAME[module]
    found = classes(module)
    for kind in found:
        if kind.__name__ in expected:
            fault = expected[kind.__name__]
            status = {"rejected": 400, "server": 500}.get(fault)
            assert told(made(kind, status)) == fault, kind
        else:
            assert _holds_a_status(kind), kind
            for status in _statuses(kind):
                assert told(made(kind, status)) == BY_STATUS[status], kind
    assert set(expected) <= {kind.__name__ for kind in found}


def _holds_a_status(kind: type[BaseException]) -> bool:
    return any(base.__name__ == "APIStatusError" for base in kind.__mro__)


def _statuses(kind: type[BaseException]) -> list[int]:
    status = getattr(kind, "status_code", None)
    return [status] if isinstance(status, int) else list(BY_STATUS)


def told(error: BaseException) -> Any:
    found = ORIGIN.from_exception(error, begun=False).data["fault"]
    assert found in TABLE
    return found


def test_the_innermost_cause_decides() -> None:
    outer = httpx2.ConnectError("no")
    outer.__cause__ = ssl.SSLCertVerificationError("bad certificate")
    assert told(outer) == "tls"


def test_what_breaks_after_the_beginning_is_a_broken_reply() -> None:
    error = ORIGIN.from_exception(httpx2.ReadError("gone"), begun=True)
    assert (error.code, error.data["fault"]) == ("NF-231", "cut")
    error = ORIGIN.from_exception(httpx2.ReadTimeout("gone"), begun=True)
    assert (error.code, error.data["fault"]) == ("NF-222", "stall")


def test_an_unknown_exception_is_named() -> None:
    error = ORIGIN.from_exception(LookupError("where is it"), begun=False)
    assert error.data["fault"] == "unknown"
    assert "LookupError: where is it" in error.message


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": {"type": "overloaded_error", "message": "x"}}, "overloaded"),
        ({"error": {"type": "rate_limit_error", "message": "x"}}, "rate_limit"),
        ({"error": {"type": "billing_error", "message": "x"}}, "quota"),
        ({"error": {"message": "x", "code": "context_length_exceeded"}}, "context"),
        ({"error": {"message": "x", "code": 503}}, "overloaded"),
        ({"error": "just words"}, "server"),
        ({}, "server"),
    ],
)
def test_an_error_inside_a_stream_says_itself_what_it_is(body: dict[str, Any], fault: str) -> None:
    assert ORIGIN.from_event(body).fault == fault


@pytest.mark.parametrize(
    "told",
    [
        "Incorrect API key provided: sk-abc***xyz1.",
        "bad key sk-proj-0123456789abcdef",
        "header Bearer abcdefgh",
        "key AIzaSyA0123456789abcdef is not valid",
    ],
)
def test_what_looks_like_a_key_is_taken_out_of_messages(told: str) -> None:
    text = redacted(told)
    assert "[key]" in text
    assert "0123456789" not in text
    assert "abc" not in text


@given(st.text(min_size=4, max_size=40), st.text(), st.text())
def test_the_key_itself_is_taken_out_whatever_it_looks_like(
    key: str, before: str, after: str
) -> None:
    assert key not in redacted(f"{before}{key}{after}", key).replace("[key]", "\0")


def test_ordinary_words_stay() -> None:
    told = "This model's maximum context length is 8192 tokens: task-oriented, key point."
    assert redacted(told, "none-of-this") == told


def test_reading_exceptions_imports_no_sdk() -> None:
    before = {name for name in sys.modules if name in {"openai", "anthropic", "google.genai"}}
    ORIGIN.from_exception(ValueError("x"), begun=False)
    assert {n for n in sys.modules if n in {"openai", "anthropic", "google.genai"}} == before


def test_too_many_bytes_are_not_too_many_tokens() -> None:
    bytes_ = ORIGIN.from_status(413, {}, {"error": {"message": "Request Entity Too Large"}})
    tokens = ORIGIN.from_status(413, {}, {"error": {"message": "maximum context length is 8"}})
    assert (bytes_.fault, tokens.fault) == ("too_large", "context")
