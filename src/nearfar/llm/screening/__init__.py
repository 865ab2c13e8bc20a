"""What is in a request: personal data that must stay near, and content that must go nowhere.

The detectors are loaded when one is used: a router without ``privacy`` and ``content`` needs none.
"""

from typing import TYPE_CHECKING, Any

from .screen import Finding, Screen, told

if TYPE_CHECKING:
    from .personal import FINDERS, Detector
    from .unsafe import RULES, Rules

__all__ = ["FINDERS", "RULES", "Detector", "Finding", "Rules", "Screen", "told"]

_PERSONAL = frozenset({"FINDERS", "Detector"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import personal, unsafe

    return getattr(personal if name in _PERSONAL else unsafe, name)
