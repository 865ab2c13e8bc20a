"""Personal data and secrets in text: which kinds, and how often, and never what."""

import importlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from nearfar.errors import ConfigurationError

from .content import UNREADABLE, Gathered
from .folding import folded, unspaced
from .national_ids import national_ids
from .numbers import addresses, cards, ibans, numeric, phones
from .words import Names, mails, secrets

if TYPE_CHECKING:
    from nearfar.settings import PrivacySettings

Finder = Callable[[str], Iterable[object]]
"""Gives something for each thing that it finds in a text."""

FAILED = "detector failed"
"""The kind of a request that a detector could not look through."""
ENOUGH = 1000
"""Things of a kind in a request; more are not counted."""

FINDERS: dict[str, Finder] = {
    "email": mails,
    "phone": phones,
    "iban": ibans,
    "credit_card": cards,
    "national_id": national_ids,
    "ip": addresses,
    "secret": secrets,
}
"""By the name that the settings use."""
_OF_NUMBERS = frozenset({"phone", "iban", "credit_card", "national_id"})
_log = logging.getLogger(__name__)


class Detector:
    """Looks for the kinds that the settings name, for their names and patterns, and asks their detectors.

    What cannot be looked through counts as found: a picture or a file as "unreadable", a detector that
    raises as "detector failed".
    """

    def __init__(self, settings: "PrivacySettings") -> None:
        self._folding: dict[str, Finder] = {k: FINDERS[k] for k in settings.kinds if k in FINDERS}
        if settings.names:
            self._folding["name"] = Names(settings.names)
        self._plain: dict[str, Finder] = {
            name: re.compile(pattern).finditer for name, pattern in settings.patterns.items()
        }
        self._own = {reference: _function(reference) for reference in settings.detectors}

    def look(self, gathered: Gathered) -> dict[str, int]:
        """How many of each kind there are; kinds without any are left out."""
        found = Counter[str]()
        if gathered.unreadable:
            found[UNREADABLE] = gathered.unreadable
        text = "\n".join(gathered.texts)
        self._count(text, found)
        if gathered.glued and not found:
            self._count("\n".join(gathered.glued), found)
        return dict(found)

    def find(self, text: str) -> dict[str, int]:
        """As ``look``, for one text."""
        found = Counter[str]()
        self._count(text, found)
        return dict(found)

    def _count(self, text: str, found: Counter[str]) -> None:
        plain = folded(text)
        spelled = unspaced(plain)
        readable = f"{plain}\n{spelled}" if spelled else plain
        numbers = numeric(readable) if _OF_NUMBERS & self._folding.keys() else ""
        for kind, finder in self._folding.items():
            if kind not in _OF_NUMBERS:
                self._add(kind, finder, (readable,), found)
            elif numbers:
                self._add(kind, finder, (numbers,), found)
        for name, pattern in self._plain.items():
            self._add(name, pattern, (text, plain) if plain is not text else (text,), found)
        for reference, function in self._own.items():
            self._ask(reference, function, text, found)

    def _add(self, kind: str, finder: Finder, texts: Sequence[str], found: Counter[str]) -> None:
        try:
            count = max(sum(1 for _ in islice(finder(text), ENOUGH)) for text in texts)
        except Exception as error:  # noqa: BLE001  # whatever a detector meets, the request stays near
            _failed(kind, error, found)
        else:
            if count:
                found[kind] += count

    def _ask(self, reference: str, function: "Own", text: str, found: Counter[str]) -> None:
        try:
            said = {str(kind): int(count) for kind, count in function(text).items()}
        except Exception as error:  # noqa: BLE001  # the user's own code, and the request stays near
            _failed(reference, error, found)
        else:
            found.update({kind: count for kind, count in said.items() if count > 0})


Own = Callable[[str], Mapping[str, int]]
"""A user's detector: how many there are of each kind that it knows."""


def _failed(name: str, error: Exception, found: Counter[str]) -> None:
    """What the error says may be a part of the text, so only its class is told."""
    _log.warning("the detector %s failed (%s): the request stays near", name, type(error).__name__)
    found[FAILED] += 1


def _function(reference: str) -> Own:
    module, _, name = reference.partition(":")
    try:
        found: Own = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"The detector {reference!r} cannot be loaded: {error}.", data={"detector": reference}
        ) from error
    return found
