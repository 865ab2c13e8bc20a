"""Where a caller of models pays: reserve before, settle after, give back what failed.

Without a budget nothing is reserved and nothing is waited for: a line is written in the background.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from langchain_core.messages import UsageMetadata

from nearfar.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    NearfarError,
    RouterError,
    UnknownPriceError,
)

from .amounts import dollars, to_nano
from .budgets import Alert, Budget, find_budget
from .claims import Claim, Refusal, Reservation
from .entries import Entry, Outcome
from .ledger import LEASE_S, Ledger
from .prices import Price

if TYPE_CHECKING:
    from nearfar.settings import Settings

_log = logging.getLogger(__name__)

LEAST_OUTPUT_TOKENS = 16
"""A reply is not cut shorter than this for want of money; the call is refused instead."""

MONEY_WAIT_S = 0.1
"""How long one alone waits at most before it asks a busy budget again."""
MONEY_TURN_S = 0.02
"""The same for each of many."""

OnAlert = Callable[[Alert], object]


@dataclass(frozen=True)
class Call:
    """What is known of a call before it is made; ``price`` is None where nobody knows it.

    ``prompt_tokens`` counts at most what the provider will, and is only asked where it matters.
    ``max_output_tokens`` is None where the caller has set no limit.
    """

    model: str
    provider: str
    price: Price | None
    prompt_tokens: Callable[[], int]
    max_output_tokens: int | None = None
    run_id: str | None = None


class Refused(Exception):  # noqa: N818  (control flow: another model may be cheaper)
    """The budget does not allow a call. "busy" ones may be allowed when others have been settled."""

    def __init__(
        self, kind: Literal["exhausted", "busy", "unpriced"], reason: str, error: RouterError
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.error = error


class Till:
    """One ledger and at most one budget; ``on_alert`` is called when a share of it is spent."""

    def __init__(
        self, ledger: Ledger, budget: Budget | None = None, *, on_alert: OnAlert | None = None
    ) -> None:
        self.ledger = ledger
        self.budget = budget
        self._on_alert = on_alert
        self._waiting: WeakSet[object] = WeakSet()

    @classmethod
    def open(cls, settings: "Settings", budget: str | None = None) -> "Till":
        """The ledger of the settings, and the budget of that name. Raises ConfigurationError."""
        if budget is None:
            return cls(Ledger.open(settings))
        hook = settings.budgets[budget].on_alert if budget in settings.budgets else None
        return cls(
            Ledger.open(settings),
            find_budget(budget, settings),
            on_alert=None if hook is None else _function(hook),
        )

    async def before(self, call: Call, *, lease_s: float = LEASE_S) -> "Held":
        """Reserve what the call may cost at most, where a budget applies to it. Raises Refused.

        After ``lease_s`` seconds the call counts as lost. ``Held.max_tokens`` is the limit that has to be
        set on the call, where its caller has set none.
        """
        if self.budget is None or (call.price is not None and call.price.is_free):
            return Held(self, call)
        if call.price is None:
            raise _unpriced(self.budget, call)
        claim, longest = _claim(self.budget, call, call.price)
        found = await self.ledger.areserve(self.budget, claim, lease_s=lease_s)
        if isinstance(found, Refusal):
            if found.kind == "exhausted":
                self.tell(self.ledger.exhausted(self.budget, found.period))
            raise _refused(self.budget, found)
        limit = None
        if call.max_output_tokens is None:
            limit = _affordable(claim, found, longest)
        return Held(self, call, found, limit)

    def wait_s(self, who: object, rng: Random) -> float:
        """Seconds after which ``who`` should ask a busy budget again, until ``waits_no_longer``.

        The more wait the longer, so that together those of a till ask less than 80 times a second: fifty
        who each asked that often would leave no time for the calls that they wait for.
        """
        self._waiting.add(who)
        return rng.uniform(0.3, 1.0) * max(MONEY_WAIT_S, MONEY_TURN_S * len(self._waiting))

    def waits_no_longer(self, who: object) -> None:
        """``who`` has its money, or has been refused it."""
        self._waiting.discard(who)

    def tell(self, alerts: list[Alert]) -> None:
        """Log alerts and call the hook; what the hook raises is logged and goes no further."""
        for alert in alerts:
            _log.warning(
                "the budget %s has reached %d %% of its limit",
                alert.budget,
                round(alert.share * 100),
                extra={
                    "budget": alert.budget,
                    "period": alert.period,
                    "spent_usd": float(alert.spent_usd),
                    "limit_usd": float(alert.limit_usd),
                },
            )
            if self._on_alert is None:
                continue
            try:
                self._on_alert(alert)
            except Exception:  # noqa: BLE001  (the user's own code)
                _log.exception("on_alert of the budget failed", extra={"budget": alert.budget})


class Held:
    """A call that may be made now. Exactly one of ``settle``, ``settle_soon``, ``release`` ends it."""

    def __init__(
        self,
        till: Till,
        call: Call,
        reservation: Reservation | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.call = call
        self.max_tokens = max_tokens
        self._till = till
        self._reservation = reservation

    async def settle(
        self,
        usage: UsageMetadata,
        *,
        outcome: Outcome = "answered",
        estimated: bool = False,
        model: str | None = None,
    ) -> Decimal | None:
        """Pay for what was used: it is in the file when this returns. The cost in USD, if known.

        ``model`` is the name under which it is written, where that is another than the call's.
        """
        entry = self._entry(usage, outcome, estimated, model)
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            self._till.ledger.record(entry)
            return entry.cost_usd
        try:
            self._till.tell(await self._till.ledger.asettle(reservation, entry))
        except NearfarError as error:  # what is reserved stays so, and the budget holds
            _log.warning("a call could not be settled", extra={"reason": error.message})
        except BaseException:  # cancelled while the file was busy
            self._till.ledger.settle_soon(reservation, entry)
            raise
        return entry.cost_usd

    def settle_soon(
        self, usage: UsageMetadata, *, outcome: Outcome, estimated: bool = False
    ) -> Decimal | None:
        """As ``settle``, without waiting: for callers who are being cancelled."""
        entry = self._entry(usage, outcome, estimated)
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            self._till.ledger.record(entry)
        else:
            self._till.tell(self._till.ledger.settle_soon(reservation, entry))
        return entry.cost_usd

    def release(self) -> None:
        """The call cost nothing."""
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            self._till.ledger.release(reservation)

    def _entry(
        self, usage: UsageMetadata, outcome: Outcome, estimated: bool, model: str | None = None
    ) -> Entry:
        price = self.call.price
        return Entry(
            model=model or self.call.model,
            provider=self.call.provider,
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cost_usd=None if price is None else price.cost(usage),
            price_source=None if price is None else price.source,
            outcome=outcome,
            run_id=self.call.run_id,
            estimated=estimated,
        )


def _claim(budget: Budget, call: Call, price: Price) -> tuple[Claim, int]:
    """The worst case, and the longest reply that it allows for."""
    prompt = call.prompt_tokens()
    longest = call.max_output_tokens or budget.max_output_tokens
    shortest = call.max_output_tokens or min(longest, LEAST_OUTPUT_TOKENS)
    claim = Claim(
        model=call.model,
        provider=call.provider,
        wish_usd=price.worst_case(prompt, longest),
        least_usd=price.worst_case(prompt, shortest),
        prompt_usd=price.worst_case(prompt, 0),
        prompt_tokens=prompt,
        price_source=price.source,
        run_id=call.run_id or "",
    )
    return claim, longest


def _affordable(claim: Claim, reservation: Reservation, longest: int) -> int:
    """Tokens that a reply may have for what was granted."""
    whole = claim.wish_usd - claim.prompt_usd
    if reservation.amount_usd >= claim.wish_usd or not whole:
        return longest
    return int((reservation.amount_usd - claim.prompt_usd) / whole * longest)


def _refused(budget: Budget, refusal: Refusal) -> Refused:
    def usd(amount: Decimal) -> str:
        return f"{dollars(to_nano(amount))} USD"

    left = f"{usd(refusal.spent_usd)} of {usd(refusal.limit_usd)} are spent"
    if refusal.kind == "busy":
        left += f", {usd(refusal.reserved_usd)} are reserved by calls under way"
    told = f"{left}, and the call may cost {usd(refusal.needed_usd)}"
    error = BudgetExhaustedError(
        f"The budget {budget.name!r} does not allow the call: {told}.",
        data={
            "budget": budget.name,
            "period": refusal.period,
            "on_exhausted": budget.on_exhausted,
            "limit_usd": float(refusal.limit_usd),
            "spent_usd": float(refusal.spent_usd),
            "reserved_usd": float(refusal.reserved_usd),
            "needed_usd": float(refusal.needed_usd),
        },
    )
    busy = "what is left is reserved by calls under way"  # the same words at each try
    return Refused(refusal.kind, f"budget: {busy if refusal.kind == 'busy' else told}", error)


def _unpriced(budget: Budget, call: Call) -> Refused:
    error = UnknownPriceError(
        f"The price of {call.model} ({call.provider}) is not known, and the budget {budget.name!r}"
        " applies.",
        data={"model": call.model, "provider": call.provider, "budget": budget.name},
    )
    return Refused("unpriced", "budget: its price is not known", error)


def _function(reference: str) -> OnAlert:
    module, _, name = reference.partition(":")
    try:
        found: OnAlert = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"on_alert {reference!r} cannot be loaded: {error}.", data={"on_alert": reference}
        ) from error
    return found
