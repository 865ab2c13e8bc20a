"""The sections about models elsewhere, and about routers."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ._settings_policies import PolicyForm, candidates_of
from ._settings_section import Section

Seconds = Annotated[float, Field(gt=0)]
Dollars = Annotated[Decimal, Field(ge=0)]


def _is_redis(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be written as redis://HOST:PORT/0, rediss://... or unix://PATH")
    return url


class Price(Section):
    """USD for a million tokens."""

    input: Dollars
    """Tokens of the prompt."""
    output: Dollars
    """Tokens of the reply."""
    cache_read: Dollars | None = None
    """Tokens of the prompt that the provider had cached; unset: as `input`."""


class ModelProfile(Section):
    """What a model takes; what is not said is not held against it."""

    max_input_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens that prompt and reply may have together."""
    tool_calling: bool | None = None
    """Whether it can call tools."""
    prefill: bool | None = None
    """Whether it goes on from the beginning of an answer; unset: models on this machine only."""
    vision: bool | None = None
    """Whether it can see pictures."""
    json_output: Annotated[bool | None, Field(alias="json")] = None
    """Whether it can be held to a JSON schema."""


class BreakerSettings(Section):
    """When an upstream that keeps failing is left alone."""

    failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row that open the breaker."""
    open_s: Seconds = 5
    """Seconds that it stays open at first; it doubles each time the probe fails."""
    max_open_s: Seconds = 60
    """Seconds that it stays open at most."""


class RouterSettings(Section):
    """A chat model made of chat models."""

    candidates: Annotated[list[str], Field(min_length=1)]
    """Names of models, the preferred one first."""
    policy: PolicyForm = "priority"
    """Their order: priority, cost, latency, quality, least_busy, near_first, round_robin, split, module:function; or a list, or keys (see routing)."""
    deadline_s: Seconds = 60
    """Seconds that a request may take in all."""
    first_token_s: Seconds = 15
    """Seconds until a candidate's first token; then the next one is asked."""
    stall_s: Seconds = 15
    """Seconds of silence within a reply."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """Extra attempts on the same candidate in one request."""
    breaker: BreakerSettings = BreakerSettings()
    """When an upstream that keeps failing is left alone."""
    midstream: Literal["continue", "hold", "error"] = "continue"
    """A fault after tokens went out: go on with whoever can, hold all back until whole, or fail."""
    compact: bool = False
    """Whether the oldest turns are left out for a candidate that the conversation does not fit."""
    coalesce: bool = False
    """Whether identical requests that are under way at the same time are sent once."""
    cache: str | None = None
    """The name of the cache that answers are kept in; unset: nothing is kept."""
    budget: str | None = None
    """The name of the budget that requests are paid from; unset: nothing is limited."""

    @model_validator(mode="after")
    def _policy_names_candidates(self) -> "RouterSettings":
        for name in sorted(candidates_of(self.policy)):
            if name not in self.candidates:
                raise ValueError(f"the policy names {name!r}, which is no candidate")
        return self


class CacheSettings(Section):
    """Answers that are kept for the same question, or for similar ones."""

    kind: Literal["exact", "semantic"] = "exact"
    """What finds an answer: the same request, or also one whose last turn is similar."""
    url: Annotated[SecretStr, AfterValidator(_is_redis)] | None = None
    """A Redis, for exact caches: `redis://HOST:6379/0`; unset: cache.db under the home folder."""
    ttl_s: Seconds = 86_400
    """Seconds that an answer is good for."""
    max_mb: Annotated[float, Field(gt=0)] = 256
    """Space for answers, in MiB; those that were used longest ago go first."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Semantic: the least similarity (cosine) of two last turns that may share an answer."""
    sampled: bool = False
    """Whether answers are kept that were asked for with a temperature above 0."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.url is not None:
            if self.kind != "exact":
                raise ValueError("a cache in Redis is exact")
            only_file = self.model_fields_set & {"max_mb", "threshold"}
            if only_file:
                raise ValueError(f"a cache in Redis has no {min(only_file)}")
        return self


class BudgetSettings(Section):
    """What may be spent on models elsewhere."""

    limit_usd: Annotated[Decimal, Field(ge=0, le=1_000_000)]
    """USD for each period; calls that could cost more than what is left are not made."""
    per: Literal["run", "day", "month", "total"] = "day"
    """The period; days and months are those of UTC, a run is one run of a workflow."""
    on_exhausted: Literal["stop", "ask", "local"] = "stop"
    """Then: fail (stop), fail so that a graph can ask a person (ask), or use local models only (local)."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 8192
    """The longest reply where a request sets no limit: less is asked for when less is left."""
    alert_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.5, 0.8, 1.0)
    """Shares of the limit at which a warning is logged, once for each period."""
    on_alert: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    """A function `package.module:function` that is called with each such alert."""
