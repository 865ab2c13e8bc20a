"""A circuit breaker for each upstream, with windows fit for the few calls that a model gets."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

State = Literal["closed", "open", "half_open"]

WINDOW = 10
"""Outcomes that are remembered."""
LEAST = 5
"""Outcomes that a rate needs before it says anything."""
FAILURE_RATE = 0.5
SLOW_RATE = 0.8


@dataclass(frozen=True)
class BreakerOptions:
    """``failures`` in a row open it, for ``open_s`` seconds that double up to ``max_open_s``."""

    failures: int = 5
    open_s: float = 5.0
    max_open_s: float = 60.0


@dataclass(frozen=True)
class Health:
    """What a breaker knows. ``opens_again_s``: seconds until a probe is let through; 0 when closed."""

    state: State
    outcomes: tuple[str, ...]  # "ok", "slow" or "failed", oldest first
    consecutive_failures: int
    opened: int
    opens_again_s: float


class Breaker:
    """Closed, it lets all through; open, none; half open, one probe that decides. Thread-safe."""

    def __init__(
        self,
        options: BreakerOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options or BreakerOptions()
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)
        self._lock = Lock()
        self._outcomes: deque[str] = deque(maxlen=WINDOW)
        self._streak = 0
        self._opened = 0
        self._growth = 0
        self._until: float | None = None
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """All is well; read without a lock."""
        return self._until is None

    def admit(self) -> bool:
        """Whether a request may go now; in half open the one that is admitted is the probe."""
        if self.is_closed:
            return True
        with self._lock:
            if self._until is not None:
                if self._probing or self._clock() < self._until:
                    return False
                self._probing = True
            return True

    def forget(self) -> None:
        """An admitted request ended without saying anything about the upstream."""
        with self._lock:
            self._probing = False

    def succeeded(self, *, slow: bool = False) -> None:
        """A request was answered; ``slow``: its first token took too long."""
        with self._lock:
            self._outcomes.append("slow" if slow else "ok")
            self._streak = 0
            if self._probing or self._until is not None:
                self._probing = False
                self._until = None
                self._growth = 0
                self._outcomes.clear()
            elif slow and self._rate("slow") >= SLOW_RATE:
                self._open()

    def failed(self) -> None:
        """A request failed through the upstream's fault."""
        with self._lock:
            self._outcomes.append("failed")
            self._streak += 1
            if self._probing:
                self._growth += 1
                self._open()
            elif self._until is None and self._is_too_much():
                self._open()

    def shut(self) -> None:
        """Open at once for the longest time: a key or an account that does not work now."""
        with self._lock:
            self._outcomes.append("failed")
            self._growth = 16
            self._open()

    def health(self) -> Health:
        """The state now."""
        with self._lock:
            rest = 0.0 if self._until is None else max(0.0, self._until - self._clock())
            state: State = "closed"
            if self._until is not None:
                state = "half_open" if self._probing or rest == 0 else "open"
            return Health(state, tuple(self._outcomes), self._streak, self._opened, rest)

    def _is_too_much(self) -> bool:
        return self._streak >= self.options.failures or self._rate("failed") > FAILURE_RATE

    def _rate(self, outcome: str) -> float:
        if len(self._outcomes) < max(LEAST, self.options.failures):
            return 0.0
        return self._outcomes.count(outcome) / len(self._outcomes)

    def _open(self) -> None:
        longest = min(self.options.max_open_s, self.options.open_s * 2**self._growth)
        self._until = self._clock() + longest * self._rng.uniform(0.8, 1.0)
        self._probing = False
        self._opened += 1
        self._streak = 0
