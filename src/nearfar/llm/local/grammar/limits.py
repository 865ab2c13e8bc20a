"""How far a grammar lets a value grow, so that even a model that never stops by itself ends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most that is generated where a schema sets no bound of its own.

    A bound that the schema does set is honoured up to ``max_explicit_chars`` and
    ``max_explicit_items``; beyond these only its lower bounds count (and are refused if larger).
    """

    max_string_chars: int = 512
    max_array_items: int = 16
    max_map_entries: int = 8  # keys that no property declares
    max_key_chars: int = 64
    max_digits: int = 15  # before the point: exact in a double
    max_fraction_digits: int = 6
    max_depth: int = 4  # levels of a recursive $ref
    max_any_depth: int = 2  # levels of containers where a schema allows any value
    max_calls: int = 8
    max_explicit_chars: int = 4096
    max_explicit_items: int = 64


DEFAULT_LIMITS = Limits()
