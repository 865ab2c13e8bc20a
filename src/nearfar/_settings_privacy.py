"""The sections about what requests hold, and what is kept of them."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ._settings_section import Section

Kind = Literal["pii", "email", "phone", "iban", "credit_card", "national_id", "ip", "secret"]
Action = Literal["block", "keep_near", "allow"]
PERSONAL = ("email", "phone", "iban", "credit_card", "national_id", "ip")
"""What ``pii`` stands for."""
CATEGORIES = ("weapons", "self_harm", "malware", "violence", "minors", "injection")
"""What there are rules for without any configuration."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiles)]
Reference = Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]


class PrivacySettings(Section):
    """What keeps a request on this machine; with nothing set here, only its mark `private` does."""

    keep_near: list[Kind] = Field(default=[])
    """Kinds of data: email, phone, iban, credit_card, national_id, ip (`pii`: all of these), and secret."""
    names: list[Annotated[str, Field(min_length=2)]] = Field(default=[])
    """Names of persons, customers, projects; any case, with or without accents."""
    patterns: dict[str, Pattern] = Field(default={})
    """Regular expressions by a name for what they find."""
    detectors: list[Reference] = Field(default=[])
    """Functions `package.module:function` from a text to counts by kind; one that raises counts as a find."""

    @property
    def is_on(self) -> bool:
        """Whether anything is looked for."""
        return bool(self.keep_near or self.names or self.patterns or self.detectors)

    @property
    def kinds(self) -> list[str]:
        """``keep_near``, with `pii` spelled out."""
        said = [PERSONAL if kind == "pii" else (kind,) for kind in self.keep_near]
        return list(dict.fromkeys(kind for kinds in said for kind in kinds))


class ContentSettings(Section):
    """What is done with requests whose words fit the rules of a category."""

    actions: dict[str, Action] = Field(default={})
    """By category (weapons, self_harm, malware, violence, minors, injection, or your own): block, keep_near, allow."""
    patterns: dict[str, list[Pattern]] = Field(default={})
    """Regular expressions by category, besides the rules that are there; upper and lower case are the same."""

    @property
    def is_on(self) -> bool:
        """Whether anything is looked for."""
        return any(action != "allow" for action in self.actions.values())

    @model_validator(mode="after")
    def _have_rules(self) -> Self:
        for category in self.actions:
            if category not in CATEGORIES and category not in self.patterns:
                known = ", ".join(CATEGORIES)
                raise ValueError(f"has no rules for {category!r}: give it patterns, or use {known}")
        for category in self.patterns:
            if category not in self.actions:
                raise ValueError(f"has patterns for {category!r}, but no action")
        return self


class ReceiptSettings(Section):
    """The receipts of routers, in the database."""

    keep: Annotated[int, Field(ge=0)] = 10_000
    """How many are kept, the newest; 0 keeps none."""
