"""Routers from settings."""

import threading
from collections.abc import Callable

from langchain_core.language_models import BaseChatModel

from nearfar.llm.cache import ResponseCache
from nearfar.llm.money import Till, price_of
from nearfar.llm.screening import Screen
from nearfar.settings import (
    ModelSettings,
    RouterSettings,
    Settings,
    described_policy,
    parts_of_policy,
)

from .breaker import Breaker, BreakerOptions
from .candidate import Candidate, Capabilities
from .finding import policy_of
from .options import RouterOptions
from .receipts import Receipts
from .router import Router
from .slots import Slots

_breakers: dict[tuple[object, ...], Breaker] = {}
_slots: dict[tuple[object, ...], Slots] = {}
_lock = threading.Lock()


def router(
    name: str, settings: Settings, make: Callable[[str], BaseChatModel], policy: str | None = None
) -> Router:
    """The router of that name; ``make`` gives the chat model of a candidate's name.

    ``policy`` overrides the configured one. Raises ConfigurationError for a policy that is not there.
    """
    own = settings.routers[name]
    chosen = policy or own.policy
    priced = "cost" in parts_of_policy(chosen)
    return Router(
        name=name,
        candidates=[_candidate(c, settings, make(c), own, priced=priced) for c in own.candidates],
        options=_options(own),
        policy=policy_of(chosen, settings),
        policy_name=described_policy(chosen),
        till=Till.open(settings, own.budget),
        responses=ResponseCache.open(own.cache, settings) if own.cache else None,
        screen=Screen.open(settings),
        receipts=Receipts.open(settings),
    )


def _candidate(
    name: str, settings: Settings, model: BaseChatModel, router: RouterSettings, *, priced: bool
) -> Candidate:
    """``priced``: look up the published price now, which loads them all once."""
    own = settings.models.get(name, ModelSettings())
    local = own.provider == "local"
    profile = model.profile or {}
    return Candidate(
        name=name,
        model=model,
        provider=own.provider,
        local=local,
        exact=local,
        takes=Capabilities(
            max_input_tokens=own.profile.max_input_tokens or profile.get("max_input_tokens"),
            tool_calling=profile.get("tool_calling"),
            vision=profile.get("image_inputs"),
            json=profile.get("structured_output"),
            prefill=_prefill(own, model),
        ),
        breaker=_shared_breaker(name, own, router),
        slots=_shared_slots(name, own),
        price=price_of(own.provider, own.model, own.price, base_url=own.base_url)
        if local or own.price or priced
        else None,
        base_url=own.base_url,
        quality=own.quality,
    )


def _prefill(own: ModelSettings, model: BaseChatModel) -> bool:
    said = own.profile.prefill
    return bool(getattr(model, "supports_prefill", False)) if said is None else said


def _shared_breaker(name: str, model: ModelSettings, router: RouterSettings) -> Breaker:
    """All routers of a process share what they know about an upstream; a key is part of it."""
    limits = router.breaker
    identity = (*_identity(name, model), limits)
    with _lock:
        if identity not in _breakers:
            options = BreakerOptions(limits.failures, limits.open_s, limits.max_open_s)
            _breakers[identity] = Breaker(options)
        return _breakers[identity]


def _shared_slots(name: str, model: ModelSettings) -> Slots | None:
    """All routers of a process count together what they send to a candidate."""
    if model.max_concurrency is None:
        return None
    limits = (model.max_concurrency, model.max_waiting)
    with _lock:
        return _slots.setdefault((*_identity(name, model), limits), Slots(*limits))


def _identity(name: str, model: ModelSettings) -> tuple[object, ...]:
    secret = model.api_key.get_secret_value() if model.api_key else None
    return name, model.provider, model.base_url, model.model, hash(secret)


def _options(own: RouterSettings) -> RouterOptions:
    return RouterOptions(
        deadline_s=own.deadline_s,
        first_token_s=own.first_token_s,
        stall_s=own.stall_s,
        retries=own.retries,
        midstream=own.midstream,
        compact=own.compact,
        coalesce=own.coalesce,
    )
