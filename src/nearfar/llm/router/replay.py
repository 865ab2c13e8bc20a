"""The inputs of a decision, as a receipt keeps them; and the same decision, made again from them.

What is kept are counts, flags, prices and states, and what policies noted; nothing that anybody wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage

from nearfar.errors import UsageError
from nearfar.llm.money import Price, Rates

from .candidate import Candidate, Capabilities
from .gates import GATES, Request
from .policies import Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """Names of candidates in the order in which they are tried, and why the others were passed over.

    ``first`` is the one that is asked first, as far as the breakers decide.
    """

    order: tuple[str, ...]
    passed_over: Mapping[str, str]
    first: str | None

    def is_that_of(self, receipt: Mapping[str, Any]) -> bool:
        """Whether the receipt tells of the same order."""
        return self.order == order_in(receipt)


def taken_down(request: Request, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The inputs of the decision about a request; what is counted and noted later comes in by itself."""
    options = request.options
    return {
        "private": request.private,
        "far": request.far,
        "found": dict(request.found),
        "tools": len(request.tools),
        "images": request.has_images,
        "json": bool(options.get("response_format")),
        "max_tokens": options.get("max_tokens"),
        "tags": sorted(request.tags),
        "label": request.label,
        "priority": request.priority,
        "compact": request.compact,
        "tokens": request.counted,
        "cut": request.cut,
        "noted": request.notes,
        "candidates": [_state(candidate) for candidate in candidates],
    }


def counted_too(inputs: dict[str, Any], request: Request) -> None:
    """Add what a policy has made the request count."""
    if "size" in request.__dict__:
        inputs["size"] = request.size


def replay(receipt: Mapping[str, Any], policy: Policy) -> Choice:
    """What ``policy`` chooses for the request that the receipt is of, with the candidates as they were.

    With the policy that the router had then, that is what it chose then. Raises UsageError where
    a policy of your own reads what is not in a receipt (the words of the messages, the thread).
    """
    inputs = receipt.get("inputs")
    if not inputs:
        raise UsageError("The receipt has no inputs: nobody was chosen, an answer was kept.")
    request = _Recorded(inputs)
    able, passed_over = [], {}
    for state in inputs["candidates"]:
        candidate = _candidate(state)
        reason = next((r for gate in GATES if (r := gate(request, candidate))), None)
        if reason is None:
            able.append(candidate)
        else:
            passed_over[candidate.name] = reason
    order = tuple(c.name for c in policy(request, able)) if able else ()
    states = {state["name"]: state["breaker"] for state in inputs["candidates"]}
    first = next((name for name in order if states[name] != "open"), None)
    return Choice(order, passed_over, first)


def order_in(receipt: Mapping[str, Any]) -> tuple[str, ...]:
    """The order that a receipt tells of."""
    placed = [entry for entry in receipt["candidates"] if "place" in entry]
    return tuple(str(entry["candidate"]) for entry in sorted(placed, key=lambda e: e["place"]))


def _state(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "model": candidate.model_id,
        "provider": candidate.provider,
        "local": candidate.local,
        "takes": dict(_takes(candidate.takes)),
        "price": None if candidate.price is None else dict(_price(candidate.price)),
        "quality": candidate.quality,
        "active": candidate.active,
        "first_token_s": candidate.first_token_s,
        "breaker": "closed" if candidate.breaker.is_closed else candidate.breaker.health().state,
    }


@lru_cache(maxsize=256)
def _takes(takes: Capabilities) -> dict[str, Any]:
    return {name: value for name, value in asdict(takes).items() if value is not None}


@lru_cache(maxsize=256)
def _price(price: Price) -> dict[str, Any]:
    plain = asdict(price)
    plain["tiers"] = [_plain(tier) for tier in plain["tiers"]]
    return _plain(plain)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Amounts as text, which is exact."""
    return {k: str(v) if isinstance(v, Decimal) else v for k, v in values.items()}


def _amounts(values: Mapping[str, Any], *others: str) -> dict[str, Any]:
    return {
        k: v if k in others or v is None else Decimal(v) for k, v in values.items() if k != "tiers"
    }


def _candidate(state: Mapping[str, Any]) -> Candidate:
    told = state["price"]
    price = None
    if told is not None:
        tiers = tuple(Rates(**_amounts(tier, "start")) for tier in told["tiers"])
        price = Price(**_amounts(told, "source"), tiers=tiers)
    return _Stand(
        name=state["name"],
        model=None,  # type: ignore[arg-type]  # nobody is asked
        provider=state["provider"],
        local=state["local"],
        takes=Capabilities(**state["takes"]),
        price=price,
        quality=state["quality"],
        active=state["active"],
        first_token_s=state["first_token_s"],
    )


@dataclass(eq=False)
class _Stand(Candidate):
    """A candidate as it was."""

    def count(self, messages: Sequence[BaseMessage], tools: Sequence[Any]) -> int:  # noqa: ARG002
        """Counts are the request's."""
        raise _missing("the words of the messages")


class _Recorded(Request):
    """A request as its receipt knows it."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        limit, form = inputs["max_tokens"], inputs["json"]
        options = {"max_tokens": limit, "response_format": form or None}
        super().__init__(
            messages=(),
            tools=({},) * inputs["tools"],
            options={k: v for k, v in options.items() if v is not None},
            private=inputs["private"],
            far=inputs.get("far", False),
            found=inputs["found"],
            tags=frozenset(inputs["tags"]),
            label=inputs["label"],
            priority=inputs["priority"],
            compact=inputs.get("compact", False),
        )
        self.counted.update(inputs["tokens"])
        self.cut.update(inputs.get("cut", {}))
        self.__dict__["_images"] = inputs["images"]
        self.__dict__["_size"] = inputs.get("size")
        self.__dict__["_left"] = iter(inputs["noted"])

    def __getattribute__(self, name: str) -> Any:
        if name in ("messages", "thread_id", "tenant"):
            raise _missing(f"the request's {name}")
        return super().__getattribute__(name)

    def tokens(self, candidate: Candidate) -> int:
        """As counted then."""
        if candidate.name not in self.counted:
            raise _missing(f"the prompt's tokens for {candidate.name}")
        return self.counted[candidate.name]

    def shorten(self, candidate: Candidate, limit: int) -> int | None:  # noqa: ARG002  (as the request's)
        """As it was shortened then."""
        if candidate.name not in self.cut:
            raise _missing(f"how the conversation was shortened for {candidate.name}")
        return self.cut[candidate.name]

    def noted(self, name: str, take: Callable[[], T]) -> T:  # noqa: ARG002  (as the request's)
        """As noted then."""
        found: tuple[str | None, Any] = next(self.__dict__["_left"], (None, None))
        if found[0] != name:
            raise _missing(f"what the policy took as {name!r}")
        known: T = found[1]
        return known

    @property
    def has_images(self) -> bool:
        """As seen then."""
        return bool(self.__dict__["_images"])

    @property
    def size(self) -> int:
        """As counted then, if it was."""
        if self.__dict__["_size"] is None:
            raise _missing("the prompt's tokens by rule of thumb")
        return int(self.__dict__["_size"])


def _missing(what: str) -> UsageError:
    return UsageError(
        f"The receipt does not hold {what}.",
        remedy="A policy that is to be replayed takes such things through request.noted(...).",
        data={"what": what},
    )
