"""Key/value states of earlier prompts, kept for prompts that begin alike.

Reuse must not change any output. Kernels for one token and for many round differently (with
quantized weights the logits differed by 0.16, enough for another token), and a state computed in
other portions is therefore another state. So prompts are computed in portions whose borders depend
on the position alone, and a state is reused only up to a border that was reached by prefilling.
Then the native calls that lead to a token are the same, call for call, with and without reuse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .model import Generator

_SMALLEST = 512


def next_border(position: int, portion: int) -> int:
    """Where the portion that begins at (or holds) ``position`` ends.

    Every multiple of ``portion``, and its quarter and half, so that short prompts share too.
    """
    for border in (portion // 4, portion // 2):
        if position < border:
            return border
    return (position // portion + 1) * portion


def bucket(need: int, headroom: int, window: int) -> int:
    """The ``max_length`` to make a state with: a power of two with room for a follow-up.

    Making one costs time and memory in proportion to it.
    """
    size = _SMALLEST
    while size < need + headroom:
        size *= 2
    return max(need, min(size, window))


@dataclass(eq=False)
class Session:
    """One state. ``tokens`` are all that were appended; the first ``stable`` may be reused."""

    generator: Generator
    capacity: int
    size_bytes: int
    tokens: list[int] = field(default_factory=list)
    stable: int = 0

    def append(self, tokens: Sequence[int]) -> None:
        """Compute on; the list follows only when the native call came back."""
        self.generator.append(tokens)
        self.tokens.extend(tokens)

    def rewind(self, length: int) -> None:
        """Keep the first ``length`` tokens."""
        if length != len(self.tokens):
            self.generator.rewind(length)
            del self.tokens[length:]
        self.stable = min(self.stable, length)

    def shared(self, prompt: Sequence[int], portion: int) -> tuple[int, int]:
        """How many tokens of ``prompt`` this state can serve, and how many it would lose by it.

        Never serves the last token: its logits are asked for. What the prompt itself will put
        back is not lost.
        """
        limit = min(self.stable, len(prompt))
        agreed = usable = 0
        while (border := next_border(agreed, portion)) <= limit:
            if self.tokens[agreed:border] != prompt[agreed:border]:
                break
            agreed = border
            if border < len(prompt):
                usable = border
        return usable, self.stable - agreed


class SessionCache:
    """Hands out states and takes them back; least recently used go first when memory is short."""

    def __init__(
        self,
        make: Callable[[int], Generator],
        estimate: Callable[[int], int],
        *,
        limit_bytes: int,
        portion: int,
        window: int,
    ) -> None:
        self._make = make
        self._estimate = estimate
        self._limit = limit_bytes
        self._portion = portion
        self._window = window
        self._idle: list[Session] = []  # least recently used first
        self._busy: list[Session] = []
        self._usual = _SMALLEST * 2

    @property
    def idle_count(self) -> int:
        """States that wait for a follow-up."""
        return sum(bool(session.tokens) for session in self._idle)

    @property
    def total_bytes(self) -> int:
        """The estimate for all states, idle and in use."""
        return sum(session.size_bytes for session in (*self._idle, *self._busy))

    def acquire(self, prompt: list[int], need: int) -> tuple[Session, int]:
        """A state with room for ``need`` tokens, and how many of the prompt it holds already."""
        session, shared = self._take(prompt, need)
        try:
            session.rewind(shared)
        except Exception:  # it is in an unknown state; the caller reports what was raised
            self._busy.remove(session)
            raise
        return session, shared

    def _take(self, prompt: list[int], need: int) -> tuple[Session, int]:
        size = bucket(need, self._portion, self._window)
        cost = self._estimate(size)
        while True:
            roomy = self.total_bytes + cost <= self._limit
            best, shared, lost = self._best(prompt, need)
            if best is not None:
                worth = shared // 4 if roomy else shared
                if lost <= worth or (not roomy and best is self._idle[0]):
                    self._idle.remove(best)
                    self._busy.append(best)
                    return best, shared
            if roomy or not self._idle:
                return self._new(size, cost), 0
            self._idle.pop(0)

    def _best(self, prompt: list[int], need: int) -> tuple[Session | None, int, int]:
        """The idle state that shares most, how much, and what is lost by taking it."""
        best: tuple[Session | None, int, int] = (None, 0, 0)
        rank: tuple[int, ...] | None = None
        for session in self._idle:
            if session.capacity < need:
                continue
            shared, lost = session.shared(prompt, self._portion)
            mine = (shared, -lost, -session.capacity)
            if rank is None or mine > rank:
                best, rank = (session, shared, lost), mine
        return best

    def _new(self, size: int, cost: int) -> Session:
        try:
            generator = self._make(size)
        except Exception:
            if not self._idle:
                raise
            self._idle.clear()  # what is cached must not stand in the way of what is asked
            generator = self._make(size)
        self._usual = size
        session = Session(generator, size, cost)
        self._busy.append(session)
        return session

    def prepare(self) -> None:
        """Make an empty state in advance, if there is room: a request then need not wait for it."""
        size = min(self._usual, self._window)
        cost = self._estimate(size)
        if all(session.stable for session in self._idle) and self.total_bytes + cost <= self._limit:
            self._idle.insert(0, Session(self._make(size), size, cost))

    def release(self, session: Session) -> None:
        """Give a state back in good order; it may be kept. The newest is kept in any case."""
        self._busy.remove(session)
        if self._limit <= 0 or len(session.generator) != len(session.tokens):
            return
        self._idle.append(session)
        while len(self._idle) > 1 and self.total_bytes > self._limit:
            self._idle.pop(0)

    def discard(self, session: Session) -> None:
        """Throw a state away that an error may have left in between."""
        self._busy.remove(session)
