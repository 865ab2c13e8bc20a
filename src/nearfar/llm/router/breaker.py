"""A circuit breaker for each upstream, with windows fit for the few calls that a model gets."""

import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal, NamedTuple

State = Literal["closed", "open", "half_open"]

WINDOW = 10
"""Outcomes that are remembered."""
LEAST = 5
"""Outcomes that a rate needs before it says anything."""
FAILURE_RATE = 0.5
SLOW_RATE = 0.8
HISTORY = 20
"""Changes of state that are remembered."""
EARLY_S = 1.0
"""Seconds between probes before their time, where nobody else can be asked."""
POLL_S = 0.1
"""Seconds after which one who waits looks whether another's probe has closed it."""


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
    history: tuple[
        tuple[float, State], ...
    ]  # (seconds since the epoch, from then on), oldest first


class Permit(NamedTuple):
    """What a request was let through as: its outcome counts only for the state that let it through."""

    epoch: int
    probe: bool


class Breaker:
    """Closed, it lets all through; open, none; half open, one probe that decides. Thread-safe."""

    def __init__(
        self,
        options: BreakerOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options or BreakerOptions()
        self._clock = clock
        self._wall_clock = wall_clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)
        self._lock = Lock()
        self._outcomes: deque[str] = deque(maxlen=WINDOW)
        self._history: deque[tuple[float, State]] = deque(maxlen=HISTORY)
        self._streak = 0
        self._opened = 0
        self._growth = 0
        self._epoch = 0
        self._until: float | None = None
        self._early_from = 0.0
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """All is well; read without a lock."""
        return self._until is None

    @property
    def why(self) -> str:
        """Why it lets nobody through, for a receipt."""
        refused = math.isinf(self._early_from)
        return "its key or account was refused" if refused else "its upstream keeps failing"

    def admit(self, *, early: bool = False) -> Permit | None:
        """Leave for a request to go now, or None; in half open the one that gets it is the probe.

        ``early``: there is nobody else to ask, so a probe may go before its time, one a second; but not
        to an upstream that was shut.
        """
        if self.is_closed:
            return Permit(self._epoch, probe=False)
        with self._lock:
            if self._until is None:
                return Permit(self._epoch, probe=False)
            due = min(self._until, self._early_from) if early else self._until
            if self._probing or self._clock() < due:
                return None
            self._probing = True
            return Permit(self._epoch, probe=True)

    def forget(self, permit: Permit) -> None:
        """An admitted request ended without saying anything about the upstream."""
        with self._lock:
            if permit.probe and permit.epoch == self._epoch:
                self._probing = False

    def succeeded(self, permit: Permit, *, slow: bool = False) -> None:
        """A request was answered; ``slow``: its first token took too long."""
        with self._lock:
            self._outcomes.append("slow" if slow else "ok")
            if permit.epoch != self._epoch:
                return
            self._streak = 0
            if permit.probe:
                self._close()
            elif slow and self._rate("slow") >= SLOW_RATE:
                self._open()

    def failed(self, permit: Permit) -> None:
        """A request failed through the upstream's fault."""
        with self._lock:
            self._outcomes.append("failed")
            if permit.epoch != self._epoch:
                return
            self._streak += 1
            if permit.probe and self._until is not None and self._clock() < self._until:
                self._probing = False
                self._early_from = self._clock() + EARLY_S
            elif permit.probe:
                self._growth += 1
                self._open()
            elif self._is_too_much():
                self._open()

    def shut(self) -> None:
        """Open at once for the longest time: a key or an account that does not work now."""
        with self._lock:
            self._outcomes.append("failed")
            self._growth = 16
            self._open()
            self._early_from = math.inf

    def wait_s(self) -> float:
        """Seconds after which asking for leave again may help."""
        with self._lock:
            if self._until is None:
                return 0.0
            rest = max(0.001, self._until - self._clock())
            return rest if math.isinf(self._early_from) else min(rest, POLL_S)

    def health(self) -> Health:
        """The state now, and how it came about."""
        with self._lock:
            rest = 0.0 if self._until is None else max(0.0, self._until - self._clock())
            state: State = "closed"
            if self._until is not None:
                state = "half_open" if self._probing or rest == 0 else "open"
            return Health(
                state,
                tuple(self._outcomes),
                self._streak,
                self._opened,
                rest,
                tuple(self._history),
            )

    def _is_too_much(self) -> bool:
        return self._streak >= self.options.failures or self._rate("failed") > FAILURE_RATE

    def _rate(self, outcome: str) -> float:
        if len(self._outcomes) < max(LEAST, self.options.failures):
            return 0.0
        return self._outcomes.count(outcome) / len(self._outcomes)

    def _open(self) -> None:
        longest = min(self.options.max_open_s, self.options.open_s * 2**self._growth)
        now = self._clock()
        self._until = now + longest * self._rng.uniform(0.8, 1.0)
        self._early_from = now + EARLY_S
        self._opened += 1
        self._changed("open")

    def _close(self) -> None:
        self._until = None
        self._growth = 0
        self._outcomes.clear()
        self._changed("closed")

    def _changed(self, state: State) -> None:
        self._epoch += 1
        self._probing = False
        self._streak = 0
        self._history.append((self._wall_clock(), state))
