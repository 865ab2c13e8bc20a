"""Long values in pieces: what a thread's state repeats from step to step is stored once.

A list of messages (or another long list) is stored item by item, under numbers that a thread
counts; a checkpoint then holds the ranges of numbers that its list is made of. What was stored
before is recognised by the identity of the objects and by their content, so an object that was
changed in place is stored anew.
"""

import hashlib
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from nearfar.errors import CheckpointDataError

from .messages import KINDS, Fields, from_row, make, same, take
from .serde import StrictSerializer

SPLIT_FROM = 8  # items; a shorter list stands in the checkpoint itself
APART_FROM = 1024  # bytes; a shorter value stands in the checkpoint itself
WORTH_SPLITTING = 64  # bytes that an item of another list has on average, at least
MESSAGE = "message"  # the format of a message that is kept by its fields
_WHOLE, _LIST, _SNAPSHOT = "v", "l", "d"
_OWN, _EXTRA = operator.attrgetter("__dict__"), operator.attrgetter("__pydantic_extra__")
_SCALARS = (str, int, float, bool, type(None))

Ref = list[Any]
"""Its kind, then first and last number of each range."""


Show = Callable[[Any], Any]
"""From a message, or the fields of one, to plain JSON."""

Life = tuple[int, int]
"""A thread's token, another one when it was deleted and begun anew; how often it was pruned."""


class Lend(Enum):
    """Whether a reader gets the objects that were written last, or their like."""

    NO = 0
    CHECKED = 1  # those that nobody changed since
    GLANCE = 2  # as they are: for who looks how a run stands, not at what messages say


class Sealing(Protocol):
    """What both of our serializers can do."""

    @property
    def plain(self) -> StrictSerializer: ...
    def seal(self, kind: str, content: bytes) -> tuple[str, bytes]: ...
    def unseal(self, kind: str, content: bytes) -> tuple[str, bytes]: ...
    def with_types(self, names: Any) -> "Sealing": ...
    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...
    def loads_typed(self, data: tuple[str, bytes]) -> Any: ...


class Item:
    """A piece: stored under ``number``, or still to be stored."""

    __slots__ = ("content", "digest", "fields", "kind", "number", "shown")

    def __init__(self, kind: str, content: bytes, digest: bytes | None, fields: Fields | None):
        self.kind, self.content, self.digest, self.fields = kind, content, digest, fields
        self.number: int | None = None
        self.shown: dict[str, str] | None = None  # as JSON, once somebody asked

    def stored(self, number: int) -> None:
        """Its bytes are no longer needed."""
        self.number, self.content = number, b""


@dataclass
class Pieces:
    """A channel's value as it was last read or written."""

    kind: str
    version: Any
    values: list[Any]  # the objects themselves
    items: list[Item]  # one for each
    ref: Ref | None = None  # once all are stored
    fields: list[dict[str, Any]] | None = None  # when all are messages without extra fields
    by_id: dict[int, int] = field(default_factory=dict)
    by_digest: dict[bytes, Item] = field(default_factory=dict)

    before: "Pieces | None" = None  # what this one only appends to, until it is settled

    def settle(self) -> Ref:
        """The ranges, when all items have their number."""
        if self.ref is None:
            start: Ref = self.before.ref if self.before and self.before.ref else [self.kind]
            done = len(self.before.items) if len(start) > 1 and self.before else 0
            self.ref = [self.kind, *ranges((i.number for i in self.items[done:]), start[1:])]
            self.before = None
        return self.ref


def ranges(numbers: Iterable[Any], start: Sequence[int] = ()) -> list[int]:
    """First and last number of each run, after ``start``: 1, 2, 3, 7 becomes [1, 3, 7, 7]."""
    found = list(start)
    last = found[-1] if found else -2
    for number in numbers:
        if number == last + 1:
            found[-1] = number
        else:
            found += (number, number)
        last = number
    return found


def length(bounds: Sequence[int]) -> int:
    """How many numbers are in those ranges."""
    return sum(bounds[1::2]) - sum(bounds[::2]) + len(bounds) // 2


def spread(bounds: Sequence[int]) -> list[int]:
    """The numbers of those ranges."""
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [number for first, last in pairs for number in range(first, last + 1)]


@dataclass
class Output:
    """Lists of messages that a thread gave, on their way to be kept under a name."""

    thread_id: str
    name: str
    checkpoint_id: str
    """The checkpoint that they are the values of."""
    lists: Mapping[str, Sequence[Any]]

    def held(self, refs: bytes | None) -> dict[str, Ref]:
        """The refs of those lists that the checkpoint itself holds in pieces."""
        found: dict[str, Ref] = ormsgpack.unpackb(refs) if refs else {}
        return {
            channel: ref
            for channel, ref in found.items()
            if ref[0] == _LIST and len(self.lists.get(channel, ())) == length(ref[1:])
        }

    def added(
        self, channel: str, splitter: "Splitter", before: Sequence[Item], last: int
    ) -> tuple[Ref, list[Any]]:
        """The ref of a list that begins as ``before`` does, and rows for the rest, from ``last`` on."""
        rows = []
        items = splitter.continued(self.lists[channel], before)
        for item in items:
            if item.number is None:
                item.number = last = last + 1
                rows.append((self.thread_id, last, item.kind, item.content))
        return [_LIST, *ranges(item.number for item in items)], rows


@dataclass
class Memo:
    """What is known of one namespace of a thread; ``life`` tells whether the items still are there."""

    life: Life | None = None
    channels: dict[str, Pieces] = field(default_factory=dict)
    untouched: bool = False
    """No step has run since the objects were read (and looked through)."""

    def items_of(self, name: str, ref: Ref, life: Life | None) -> list[Item] | None:
        """The items of a channel's messages, where just those are known in that life."""
        known = self.channels.get(name)
        if known is None or life is None or self.life is None or life[0] != self.life[0]:
            return None
        return known.items if known.ref == ref and known.fields is not None else None

    @property
    def size(self) -> int:
        return 1 + sum(len(pieces.items) for pieces in self.channels.values())


class Memos:
    """The memos of the threads that were used last."""

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit  # items in all, each about 1 KB
        self._kept: OrderedDict[tuple[str, str], Memo] = OrderedDict()

    def get(self, thread: str, space: str) -> Memo:
        key = (thread, space)
        memo = self._kept.pop(key, None) or Memo()
        self._kept[key] = memo
        return memo

    def put(self, thread: str, space: str, memo: Memo) -> None:
        self._kept.pop((thread, space), None)
        self._kept[thread, space] = memo
        while len(self._kept) > 1 and self._total() > self._limit:
            self._kept.popitem(last=False)

    def drop(self, threads: Iterable[str]) -> None:
        gone = set(threads)
        for key in [key for key in self._kept if key[0] in gone]:
            del self._kept[key]

    def _total(self) -> int:
        return sum(memo.size for memo in self._kept.values())


class Splitter:
    """Takes long values out of a checkpoint and puts them in again."""

    def __init__(self, serde: Sealing) -> None:
        self.serde = serde

    def split(
        self, values: Mapping[str, Any], versions: Mapping[str, Any], changed: Any, memo: Memo
    ) -> tuple[dict[str, Any], dict[str, Pieces]]:
        """What stays in the checkpoint, and the pieces of the rest."""
        inline: dict[str, Any] = {}
        apart: dict[str, Pieces] = {}
        for name, value in values.items():
            if isinstance(value, _SCALARS) and not (
                isinstance(value, str) and len(value) > APART_FROM
            ):
                inline[name] = value
                continue
            version, before = versions.get(name), memo.channels.get(name)
            if before and version is not None and version == before.version and name not in changed:
                apart[name] = before
                continue
            pieces = self._pieces(value, version, before, trusted=memo.untouched)
            if pieces is None:
                inline[name] = value
            else:
                apart[name] = pieces
        return inline, apart

    def _pieces(
        self, value: Any, version: Any, before: Pieces | None, *, trusted: bool
    ) -> Pieces | None:
        kind, whole = _LIST, value
        if isinstance(value, _DeltaSnapshot):
            kind, value = _SNAPSHOT, value.value
        known = before.by_digest if before else {}
        if type(value) is list and len(value) >= SPLIT_FROM:
            if KINDS.keys() >= set(map(type, value)):
                return self._listed(kind, value, version, before, trusted=trusted)
            packed = [self.serde.plain.dumps_typed(held) for held in value]
            size = sum(len(content) for _, content in packed)
            if size >= 2 * APART_FROM and size >= WORTH_SPLITTING * len(value):
                items = [self._generic(*each, known) for each in packed]
                return Pieces(kind, version, list(value), items, by_digest=_by_digest(items))
        plain, content = self.serde.plain.dumps_typed(whole)
        if len(content) < APART_FROM:
            return None
        items = [self._generic(plain, content, known)]
        return Pieces(_WHOLE, version, [], items, by_digest=_by_digest(items))

    def _listed(
        self, kind: str, value: list[Any], version: Any, before: Pieces | None, *, trusted: bool
    ) -> Pieces:
        if before is None or before.kind != kind:
            before = Pieces(kind, None, [], [], fields=[])
        items = before.items[: _unchanged(value, before, trusted=trusted)]
        same_from_start = len(items)
        if same_from_start < min(len(value), len(before.values)) and not before.by_id:
            before.by_id = {id(held): n for n, held in enumerate(before.values)}
        for held in value[same_from_start:]:
            n = before.by_id.get(id(held))
            if n is not None and before.values[n] is held and _is_same(held, before.items[n]):
                items.append(before.items[n])
            else:
                items.append(self._item(held, before.by_digest))
        if same_from_start < len(before.items):
            pieces = Pieces(kind, version, list(value), items, fields=_fields_of(items))
            pieces.by_digest = _by_digest(items)
            return pieces
        added = items[same_from_start:]
        fields = _fields_of(added)
        together = None if fields is None or before.fields is None else before.fields + fields
        pieces = Pieces(kind, version, list(value), items, fields=together, before=before)
        pieces.by_digest = before.by_digest | _by_digest(added)
        pieces.ref = None if added else before.ref
        return pieces

    def continued(self, values: Sequence[Any], before: Sequence[Item]) -> list[Item]:
        """Items of messages: those of ``before`` as far as they are the same, then new ones."""
        pairs = zip(values, before, strict=False)
        count = next(
            (n for n, (held, item) in enumerate(pairs) if not _is_same(held, item)),
            min(len(values), len(before)),
        )
        return [*before[:count], *(self._item(held, {}) for held in values[count:])]

    def _item(self, value: Any, known: Mapping[bytes, Item]) -> Item:
        fields = take(value) if isinstance(value, BaseMessage) else None
        if fields is not None:
            return Item(*self.serde.seal(MESSAGE, ormsgpack.packb(fields[:4])), None, fields)
        return self._generic(*self.serde.plain.dumps_typed(value), known)

    def _generic(self, kind: str, content: bytes, known: Mapping[bytes, Item]) -> Item:
        digest = _digest(content)
        return known.get(digest) or Item(*self.serde.seal(kind, content), digest, None)

    def shown(self, items: Iterable[Item], show: Show) -> list[Any]:
        """What ``show`` makes of the items; what is remembered of it is given as copies."""
        return [self._shown(one, show) if one.shown is None else one.shown.copy() for one in items]

    def _shown(self, item: Item, show: Show) -> Any:
        if item.fields is None:
            return show(self.value_of(item))
        made = show(item.fields[1])
        if all(type(value) is str for value in made.values()):  # most are: a flat copy will do
            item.shown = made.copy()
        return made

    def read(self, kind: str, content: bytes) -> Item:
        """An item of a row; ``value_of`` makes its object."""
        kind, content = self.serde.unseal(kind, content)
        if kind == MESSAGE:
            return Item(kind, b"", None, _fields(content))
        return Item(kind, content, _digest(content), None)

    def value_of(self, item: Item) -> Any:
        """A new object; from a read item only, or one that holds its fields."""
        if item.fields is not None:
            return make(item.fields)
        return self.serde.plain.loads_typed((item.kind, item.content))

    def lend(self, pieces: Pieces, how: Lend) -> Any:
        """The list that was written last, of the very objects when nobody changed them since."""
        values = pieces.values
        glance = how is Lend.GLANCE
        if pieces.fields is None or not (glance or _are_same(values, pieces.fields)):
            values = pieces.values = [self.value_of(item) for item in pieces.items]
        whole = list(values)
        return _DeltaSnapshot(whole) if pieces.kind == _SNAPSHOT else whole

    def join(self, ref: Ref, version: Any, items: list[Item]) -> tuple[Any, Pieces]:
        """The channel's value again, and what to remember of it."""
        values = [self.value_of(item) for item in items]
        kind = ref[0]
        digests = _by_digest(items)
        if kind == _WHOLE:
            return values[0], Pieces(kind, version, [], items, ref, by_digest=digests)
        pieces = Pieces(kind, version, list(values), items, ref, fields=_fields_of(items))
        pieces.by_digest = digests
        return (_DeltaSnapshot(values) if kind == _SNAPSHOT else values), pieces


def _by_digest(items: list[Item]) -> dict[bytes, Item]:
    return {item.digest: item for item in items if item.digest is not None}


def _fields_of(items: list[Item]) -> list[dict[str, Any]] | None:
    found = [item.fields[1] for item in items if item.fields is not None and not item.fields[3]]
    return found if len(found) == len(items) else None


def _fields(content: bytes) -> Fields:
    try:
        return from_row(ormsgpack.unpackb(content))
    except (ValueError, TypeError, LookupError, AttributeError):
        raise CheckpointDataError("A message in a checkpoint is damaged.") from None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _is_same(held: Any, item: Item) -> bool:
    """Of an object that is the same: whether its content is, too."""
    if item.fields is not None:
        return same(held, item.fields)
    return type(held) in (str, bytes, int, float)


def _unchanged(value: list[Any], before: Pieces, *, trusted: bool) -> int:
    """How many items at the start are the same objects with the same content.

    ``trusted``: the same objects have the same content.
    """
    known = before.values
    count = min(len(value), len(known))
    if not all(map(operator.is_, value, known)):
        count = next(n for n in range(count) if value[n] is not known[n])
    if before.fields is not None and (trusted or _are_same(value[:count], before.fields[:count])):
        return count
    items = before.items
    return next((n for n in range(count) if not _is_same(value[n], items[n])), count)


def _are_same(messages: list[Any], fields: list[dict[str, Any]]) -> bool:
    """As ``_is_same``, for a list of messages without extra fields, at the speed of C."""
    return list(map(_OWN, messages)) == fields and not any(map(_EXTRA, messages))
