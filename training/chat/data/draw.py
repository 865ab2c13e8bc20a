"""Chance, and the line between what is trained on and what is only evaluated on.

Every pool of wordings, names and words is divided by hash into a side for training and a side for
evaluation, which share no entry. Values that are made up (names, paths, numbers) belong to the side
that their own hash says, so the two sides can never meet.
"""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar, Generic, Literal, TypeVar, cast

from . import gathered
from .open_words import OpenWords

Side = Literal["train", "eval"]
T = TypeVar("T")

_SHARE = 5  # one entry in five is for evaluation
_OPEN = 0.85  # how many draws for training come from words without end


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def side_of(text: str) -> Side:
    """The side that a text belongs to, by its hash."""
    return "eval" if _hash(text) % _SHARE == 0 else "train"


class Pool(Generic[T]):
    """Entries in two parts that share none; at least one entry in either.

    ``more`` are entries for training alone. ``kind`` says of which kind the entries are where any
    word would do (noun, nouns, verbs, adjective, label, name, subject): most draws for training then
    come from ``OpenWords``. ``loose`` wordings may be altered so far that only their values stay.
    """

    open: ClassVar[list["Pool[object]"]] = []

    def __init__(
        self, entries: Sequence[T], *, more: Sequence[T] = (), kind: str = "", loose: bool = False
    ) -> None:
        ordered = sorted(dict.fromkeys(entries), key=lambda entry: _hash(repr(entry)))
        held = max(1, len(ordered) // _SHARE)
        self.eval, self.train = tuple(ordered[:held]), (*ordered[held:], *more)
        self.kind, self.loose = kind, loose
        if kind:
            self.open.append(cast("Pool[object]", self))

    def side(self, side: Side) -> tuple[T, ...]:
        return self.eval if side == "eval" else self.train


@lru_cache
def _open_words(found: gathered.Gathered, _pools: int) -> OpenWords:
    barred: set[str] = set()
    for pool in Pool.open:
        for entry in pool.eval:
            barred.update(re.findall("[a-z]+", str(entry).lower()))
    for pool in Pool.open:
        for entry in pool.train:
            barred.difference_update(re.findall("[a-z]+", str(entry).lower()))
    return OpenWords(found, barred)


class Draw:
    """A source of choices for one side; equal seeds give equal choices.

    ``wording`` may differ from ``side``: new values in wordings that were trained on.
    """

    def __init__(self, seed: int | str, side: Side, wording: Side | None = None) -> None:
        self.random = random.Random(f"{seed}/{side}")
        self.side: Side = side
        self.wording: Side = wording or side

    @property
    def words(self) -> OpenWords | None:
        """Words without end, for training where texts were gathered."""
        found = gathered.held() if self.side == "train" else None
        return _open_words(found, len(Pool.open)) if found else None

    def value(self, pool: Pool[T]) -> T:
        """A word or value of this side."""
        if pool.kind and (words := self.words) and self.chance(_OPEN):
            return cast("T", words.make(self, pool.kind))
        return self.random.choice(pool.side(self.side))

    def values(self, pool: Pool[T], count: int) -> list[T]:
        """Different ones, as many as there are."""
        entries = pool.side(self.side)
        chosen = self.random.sample(entries, min(count, len(entries)))
        if pool.kind and (words := self.words) and self.chance(_OPEN):
            made = [cast("T", words.make(self, pool.kind)) for _ in chosen]
            return made if len(set(map(str, made))) == len(made) else chosen
        return chosen

    def phrase(self, pool: Pool[T]) -> T:
        """A wording of this side; for training, often an altered one."""
        chosen = self.random.choice(pool.side(self.wording))
        if isinstance(chosen, str) and (words := self.words):
            return cast("T", words.altered(self, chosen, pool.loose))
        return chosen

    def one(self, entries: Sequence[T]) -> T:
        """Any of what both sides share: digits, kinds, forms."""
        return self.random.choice(entries)

    def weighted(self, entries: dict[T, float]) -> T:
        return self.random.choices(list(entries), list(entries.values()))[0]

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def owned(self, make: Callable[[], str]) -> str:
        """What ``make`` makes up, made again until it belongs to this side."""
        while True:
            made = make()
            if side_of(made) == self.side:
                return made

    def shuffled(self, entries: Sequence[T]) -> list[T]:
        return self.random.sample(list(entries), len(entries))
