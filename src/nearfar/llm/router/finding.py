"""Policies from what settings say: a name, a function's place, a list, or keys."""

from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from typing import Any

from nearfar.errors import ConfigurationError
from nearfar.settings import PolicySettings, RuleSettings, Settings, WhenSettings, policy_hours
from nearfar.storage import database_path

from .outcomes import Outcomes
from .policies import POLICIES, Both, Either, Policy, Split, Then
from .quality import Quality
from .rules import DAYS, Rule, Rules, When


def policy_of(form: Any, settings: Settings) -> Policy:
    """The policy of a form that ``settings`` hold. Raises ConfigurationError."""
    if form == "quality":
        return _quality({}, settings)
    if isinstance(form, str):
        return find_policy(form)
    if isinstance(form, PolicySettings):
        return _KINDS[form.kind](getattr(form, form.kind), settings)
    return _joined(form, settings, Then)


def find_policy(name: str) -> Policy:
    """A policy by its name, or a function by ``package.module:function``."""
    if name in POLICIES:
        return POLICIES[name]()
    module, colon, attribute = name.partition(":")
    known = ", ".join((*POLICIES, "quality"))
    if not colon:
        raise ConfigurationError(
            f"There is no policy {name!r}.",
            remedy=f"Use one of {known}, or package.module:function.",
            data={"policy": name},
        )
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"The policy {name!r} cannot be loaded: {error}.", data={"policy": name}
        ) from error
    if not callable(found):
        raise ConfigurationError(f"The policy {name!r} is not a function.", data={"policy": name})
    policy: Policy = found
    return policy


def _quality(scores: dict[str, float], settings: Settings) -> Policy:
    return Quality(scores, Outcomes.at(database_path(settings)))


def _joined(
    forms: Sequence[Any], settings: Settings, join: Callable[[Policy, Policy], Policy]
) -> Policy:
    policies = [policy_of(form, settings) for form in forms]
    return reduce(lambda later, first: join(first, later), reversed(policies))


def _rules(rules: Sequence[RuleSettings], settings: Settings) -> Policy:
    return Rules(*(Rule(_when(r.when), r.use or policy_of(r.policy, settings)) for r in rules))


def _when(own: WhenSettings) -> When:
    from zoneinfo import ZoneInfo

    start, end = policy_hours(own.between) if own.between else (None, None)
    return When(
        min_tokens=own.min_tokens,
        max_tokens=own.max_tokens,
        tools=own.tools,
        images=own.images,
        label=_several(own.label),
        tag=_several(own.tag),
        start=start,
        end=end,
        days=None if own.days is None else frozenset(map(DAYS.index, own.days)),
        zone=ZoneInfo(own.zone) if own.zone else None,
    )


def _several(words: str | list[str] | None) -> frozenset[str] | None:
    if words is None:
        return None
    return frozenset([words] if isinstance(words, str) else words)


_KINDS: dict[str, Callable[[Any, Settings], Policy]] = {
    "rules": _rules,
    "split": lambda weights, _settings: Split(weights),
    "quality": _quality,
    "either": lambda forms, settings: _joined(forms, settings, Either),
    "both": lambda forms, settings: _joined(forms, settings, Both),
}
