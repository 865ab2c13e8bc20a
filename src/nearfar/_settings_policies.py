"""How settings say a router's policy: by name, as a list, or with keys."""

import re
from collections.abc import Iterator
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ._settings_section import Section

Share = Annotated[float, Field(ge=0, le=1)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_HOURS = re.compile(r"\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s*")


def _branch(value: Any) -> str:
    """Which form a policy has; the marks are not part of a key's name."""
    if isinstance(value, dict | PolicySettings):
        return "[keys]"
    return "[list]" if isinstance(value, list | tuple) else "[name]"


class WhenSettings(Section):
    """What a request must be like for a rule; what is not given does not matter."""

    min_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens of the prompt, at least."""
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens of the prompt, at most."""
    tools: bool | None = None
    """Whether tools are offered."""
    images: bool | None = None
    """Whether there are pictures."""
    label: str | list[str] | None = None
    """The request's label, or one of several."""
    tag: str | list[str] | None = None
    """A tag of the caller's run, or one of several."""
    between: str | None = None
    """Hours as "22:00-06:00": from the first, to before the second."""
    days: list[Day] | None = None
    """Days of the week: mon, tue, wed, thu, fri, sat, sun."""
    zone: str | None = None
    """The time zone, as Europe/Berlin; unset: this machine's."""

    @field_validator("between")
    @classmethod
    def _is_hours(cls, value: str | None) -> str | None:
        if value is not None:
            hours(value)
        return value

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"names {value!r}, which is no time zone here") from None
        return value


class RuleSettings(Section):
    """One rule of the policy `rules`."""

    when: WhenSettings = WhenSettings()
    """Which requests it is for; unset: all."""
    use: Annotated[list[str], Field(min_length=1)] | None = None
    """These candidates alone, in this order."""
    policy: "PolicyForm | None" = None
    """Or: all candidates, as this policy has it."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "RuleSettings":
        if (self.use is None) == (self.policy is None):
            raise ValueError("must have either use (candidates) or policy")
        return self


class PolicySettings(Section):
    """A policy with values of its own; exactly one key."""

    rules: Annotated[list[RuleSettings], Field(min_length=1)] | None = None
    """The first rule that fits decides."""
    split: Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1)] | None = None
    """Weights by candidate; a thread stays with its candidate."""
    quality: dict[str, Share] | None = None
    """Scores by candidate, from 0 to 1; recorded outcomes move them."""
    either: Annotated[list["_One"], Field(min_length=2)] | None = None
    """What the first gives, and behind it the rest as the next has it."""
    both: Annotated[list["_One"], Field(min_length=2)] | None = None
    """What all give, in the order of the first."""

    @model_validator(mode="after")
    def _is_one(self) -> "PolicySettings":
        given = [n for n in type(self).model_fields if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("must have exactly one of rules, split, quality, either, both")
        return self

    @property
    def kind(self) -> str:
        """The key that is given."""
        return next(n for n in type(self).model_fields if getattr(self, n) is not None)


_One = Annotated[
    Annotated[str, Tag("[name]")] | Annotated[PolicySettings, Tag("[keys]")],
    Discriminator(lambda value: "[name]" if _branch(value) == "[list]" else _branch(value)),
]
PolicyForm = Annotated[
    Annotated[str, Tag("[name]")]
    | Annotated[list[_One], Field(min_length=1), Tag("[list]")]
    | Annotated[PolicySettings, Tag("[keys]")],
    Discriminator(_branch),
]
"""A name, or keys; a list: where the first is indifferent, the next decides."""

RuleSettings.model_rebuild()
PolicySettings.model_rebuild()


def hours(text: str) -> tuple[time, time]:
    """The two ends of "22:00-06:00". Raises ValueError."""
    match = _HOURS.fullmatch(text)
    try:
        found = [time.fromisoformat(part.zfill(5)) for part in match.groups()] if match else []
    except ValueError:
        found = []
    if len(found) != 2:
        raise ValueError('must be two times of day, as "22:00-06:00"')
    return found[0], found[1]


def inner(form: Any) -> Iterator[Any]:
    """A policy's form and all that it is made of."""
    yield form
    parts: list[Any] = list(form) if isinstance(form, list) else []
    if isinstance(form, PolicySettings):
        parts = [*(form.either or ()), *(form.both or ())]
        parts += [rule.policy for rule in form.rules or () if rule.policy is not None]
    for part in parts:
        yield from inner(part)


def candidates_of(form: Any) -> set[str]:
    """The candidates that a policy names."""
    found: set[str] = set()
    for part in inner(form):
        if isinstance(part, PolicySettings):
            found |= (part.split or {}).keys() | (part.quality or {}).keys()
            found |= {name for rule in part.rules or () for name in rule.use or ()}
    return found


def described(form: Any) -> str:
    """In few words, for receipts."""
    if isinstance(form, PolicySettings):
        joined = form.either or form.both
        words = {"either": " | ", "both": " & "}.get(form.kind, "")
        return words.join(map(described, joined)) if joined else form.kind
    return ", ".join(map(described, form)) if isinstance(form, list) else str(form)
