"""Errors of models: those on this machine, servers elsewhere, and the router over both."""

from typing import TYPE_CHECKING

from ._errors_base import NearfarError

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk


class ModelError(NearfarError):
    """Something about a model.

    ``partial`` holds what had come of a reply that was streamed; it is the user's content, and
    therefore not in ``data``.
    """

    code = "NF-200"

    partial: "AIMessageChunk | None" = None


class ModelNotFoundError(ModelError):
    """No such model name or folder; data: ``name``, ``known``."""

    code = "NF-201"
    exit_code = 2
    default_remedy = "`nearfar models list` shows the models that are known."


class ModelLoadError(ModelError):
    """The folder is there, but no model could be made of it; data: ``folder``."""

    code = "NF-202"
    default_remedy = (
        "Copy or convert the model again; docs/guides/local-models.md says what it needs."
    )


class NoProviderError(ModelError):
    """Every execution provider of the chain failed; data: ``passed_over``."""

    code = "NF-203"
    default_remedy = "`nearfar doctor` tries each provider and says what each one lacks."


class ContextWindowError(ModelError):
    """The prompt does not fit; data: ``prompt_tokens``, ``window``."""

    code = "NF-204"
    default_remedy = (
        "Shorten the prompt, ask for fewer tokens, or use a model with a larger window."
    )


class UnsupportedSchemaError(ModelError):
    """A JSON schema holds what the decoder cannot force; data: ``keyword``, ``pointer``."""

    code = "NF-205"
    exit_code = 2
    default_remedy = "Take the named keyword out of the schema, or check it after the answer."


class GrammarError(ModelError):
    """The decoder did not accept a grammar."""

    code = "NF-206"


class EngineBusyError(ModelError):
    """More requests wait than the queue may hold; data: ``queued``, ``limit``."""

    code = "NF-207"
    default_remedy = "Try again later, or raise local.queue_limit."


class EngineCrashedError(ModelError):
    """The model's worker process died; the next request starts another. data: ``exit_code``."""

    code = "NF-208"
    default_remedy = (
        "Try again: the worker has been restarted. `nearfar doctor` finds lasting causes."
    )


class EngineTimeoutError(ModelError):
    """The worker process made no progress within its limit and was stopped; data: ``limit_s``."""

    code = "NF-209"
    default_remedy = "Try again, or raise local.hang_s for a slow machine."


class EngineMemoryError(ModelError):
    """The worker process ran out of memory; data: ``limit_mb`` where one was set."""

    code = "NF-210"
    default_remedy = (
        "Close other programs, lower local.cache_mb or local.max_active, or use a smaller model."
    )


class UnsupportedInputError(ModelError):
    """A message holds content that this model cannot take (an image, a sound); data: ``type``."""

    code = "NF-211"
    exit_code = 2
    default_remedy = "Send text, or choose a model whose profile takes this kind of input."


class InvalidParameterError(ModelError):
    """A sampling parameter is out of its range; data: ``parameter``, ``value``."""

    code = "NF-212"
    exit_code = 2
    default_remedy = "Use a value within the range that the message names."


class UpstreamError(ModelError):
    """A model server elsewhere did not answer as it should.

    Data: ``provider``, ``model``, ``fault`` (which kind, in one word), and where they are known
    ``status``, ``request_id`` and ``retry_after_s``.
    """

    code = "NF-220"

    @property
    def fault(self) -> str:
        """Which kind of fault, in one word."""
        return str(self.data.get("fault", ""))

    @property
    def retry_after_s(self) -> float | None:
        """The least time, in seconds, after which the server wants to be asked again."""
        value = self.data.get("retry_after_s")
        return None if value is None else float(value)


class UpstreamConnectionError(UpstreamError):
    """No connection, or it broke before a reply; fault: refused, reset, dns, tls, connect."""

    code = "NF-221"
    default_remedy = "Check the network, base_url and any proxy."


class UpstreamTimeoutError(UpstreamError):
    """Silence past a limit; fault: connect_timeout, silence, first_token, stall."""

    code = "NF-222"
    default_remedy = "Try again, or allow more time."


class RateLimitedError(UpstreamError):
    """Too many requests for now (429)."""

    code = "NF-223"
    default_remedy = "Wait for the time that the server named, or spread requests over more models."


class QuotaExhaustedError(UpstreamError):
    """The account's quota or credit is used up (402, or a 429 that says so)."""

    code = "NF-224"
    default_remedy = "Check the plan and billing of the account that the key belongs to."


class AuthenticationError(UpstreamError):
    """The key is missing, wrong, or may not use this model (401, 403)."""

    code = "NF-225"
    exit_code = 2
    default_remedy = "Set the model's api_key, or the provider's usual environment variable."


class UpstreamNotFoundError(UpstreamError):
    """The server knows no such model or path (404)."""

    code = "NF-226"
    exit_code = 2
    default_remedy = "Check `model` and `base_url`."


class RejectedRequestError(UpstreamError):
    """The server says that the request is wrong (400, 422): sending it again cannot help."""

    code = "NF-227"
    default_remedy = "The message says what the server did not accept."


class ContextTooLongError(UpstreamError):
    """The server says that the prompt does not fit its model."""

    code = "NF-228"
    default_remedy = "Shorten the prompt, or use a model with a larger window."


class ContentFilteredError(UpstreamError):
    """The provider's content filter stopped the request or the reply; data: ``reason``."""

    code = "NF-229"
    default_remedy = "Rephrase the request."


class UpstreamFaultError(UpstreamError):
    """The server failed (500, 502) or is overloaded (503, 529)."""

    code = "NF-230"
    default_remedy = "Try again later."


class BrokenReplyError(UpstreamError):
    """A reply came, but not whole; fault: empty, malformed, no_end, cut, tool_call."""

    code = "NF-231"
    default_remedy = "Try again; what had come is on the error as `partial`."


class RequestTooLargeError(UpstreamError):
    """The request has more bytes than the server, or a proxy before it, reads (413)."""

    code = "NF-232"
    default_remedy = "Send smaller pictures or files, or raise the limit of the proxy."


class RouterError(NearfarError):
    """A router could not answer; data: ``receipt`` says who was considered and what each did.

    ``partial`` holds what the caller already has of the answer; it is the user's content, and
    therefore not in ``data``.
    """

    code = "NF-240"

    partial: "AIMessageChunk | None" = None


class NoCandidateError(RouterError):
    """No candidate may or can take the request, before any was asked."""

    code = "NF-241"
    default_remedy = "The receipt says why each one was passed over; add a candidate that fits."


class AllCandidatesFailedError(RouterError):
    """Each candidate that was asked failed; ``__cause__`` is the first fault."""

    code = "NF-242"
    default_remedy = "The receipt lists every attempt and its fault."


class DeadlineExceededError(RouterError):
    """The deadline of the whole request passed; data: ``deadline_s``."""

    code = "NF-243"
    default_remedy = "Allow more time (deadline_s), or put quicker candidates first."


class RouterBusyError(RouterError):
    """Each candidate is at its ``max_concurrency``, and as many requests wait as may wait.

    Nothing was sent.
    """

    code = "NF-244"
    default_remedy = "Send fewer requests at once, or raise max_concurrency or max_waiting."


class BudgetExhaustedError(RouterError):
    """The budget does not allow the call, and none was made.

    Data: ``budget``, ``period``, ``on_exhausted``, ``limit_usd``, ``spent_usd``, ``needed_usd``. With
    ``on_exhausted`` "ask" a graph can ask a person, allow more, and call again.
    """

    code = "NF-260"
    exit_code = 4
    default_remedy = (
        "Wait for the next period, raise limit_usd, or allow more for this one with "
        "`nearfar costs allow`; `nearfar costs budget` shows what was spent."
    )


class UnknownPriceError(RouterError):
    """A budget applies, and nobody knows what the model costs; data: ``model``, ``provider``."""

    code = "NF-261"
    exit_code = 2
    default_remedy = "Give the model a price: {input, output} in its settings; 0 if it is free."


class ContentBlockedError(RouterError):
    """The settings say that such a request goes to no model; data: ``categories``, never the words."""

    code = "NF-250"
    default_remedy = "Ask in another way; `content.actions` in nearfar.yaml says what is blocked."
