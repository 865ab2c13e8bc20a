"""A receipt's inputs give the same choice again, whatever the policy, and hold nobody's words."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from nearfar.errors import NoCandidateError, UsageError
from nearfar.llm import chat_model
from nearfar.llm.money import Price, Rates
from nearfar.llm.router import Breaker, Candidate, Capabilities, Router, RouterOptions
from nearfar.llm.router.finding import policy_of
from nearfar.llm.router.policies import POLICIES, Policy, Split, only
from nearfar.llm.router.quality import Quality
from nearfar.llm.router.receipts import Receipts
from nearfar.llm.router.replay import order_in, replay
from nearfar.llm.router.rules import Rule, Rules, When
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel

WORD = "xylophone"


def policies(rng: random.Random) -> dict[str, Policy]:
    """All there are, and combinations of them."""
    made = {name: make() for name, make in POLICIES.items()}
    split = Split({"a": 3, "b": 1, "c": 1}, rng=rng)
    quality = Quality({"a": 0.2, "c": 0.9})
    rules = Rules(
        Rule(When(max_tokens=40), ["c", "a"]),
        Rule(When(tools=True), POLICIES["cost"]()),
        Rule(When(label=frozenset({"hard"})), quality),
    )
    own = {"quality": quality, "weighted": split, "rules": rules}
    own["then"] = quality.then(split)
    own["either"] = only(lambda c: c.local) | rules
    own["both"] = split & rules
    return {**made, **own}


amounts = st.decimals(0, 20, places=3).map(abs)
prices = st.none() | st.builds(
    Price,
    amounts,
    amounts,
    st.none() | amounts,
    tiers=st.lists(
        st.builds(Rates, amounts, amounts, amounts, amounts, st.integers(1, 200)), max_size=1
    ).map(tuple),
)
windows = st.none() | st.integers(150, 900)
states = st.fixed_dictionaries(
    {
        "local": st.booleans(),
        "price": prices,
        "quality": st.none() | st.floats(0, 1),
        "active": st.integers(0, 3),
        "first_token_s": st.none() | st.floats(0.01, 9),
        "takes": st.builds(
            Capabilities, windows, st.none() | st.booleans(), st.none() | st.booleans(), st.none()
        ),
        "open": st.booleans(),
    }
)


def made(name: str, state: dict[str, Any]) -> Candidate:
    breaker = Breaker()
    if state["open"]:
        breaker.shut()
    fields = {k: v for k, v in state.items() if k != "open"}
    return Candidate(name, ScriptedChatModel(["ok"]), breaker=breaker, **fields)


@examples(max_examples=150)
@given(
    data=st.tuples(states, states, states),
    words=st.integers(1, 700),
    turns=st.integers(1, 3),
    tools=st.booleans(),
    picture=st.booleans(),
    private=st.booleans(),
    compact=st.booleans(),
    label=st.sampled_from([None, "hard"]),
    seed=st.integers(0, 9),
    which=st.sampled_from(sorted(policies(random.Random(0)))),
)
def test_every_policy_chooses_the_same_again(
    *,
    data: tuple[dict[str, Any], ...],
    words: int,
    turns: int,
    tools: bool,
    picture: bool,
    private: bool,
    compact: bool,
    label: str | None,
    seed: int,
    which: str,
) -> None:
    router = Router(
        candidates=[made(name, state) for name, state in zip("abc", data, strict=True)],
        policy=policies(random.Random(seed))[which],
        options=RouterOptions(compact=compact, deadline_s=0.001),
    )
    messages: list[Any] = []
    for _ in range(turns):
        messages += [HumanMessage(f"{WORD} " * (words // turns + 1)), AIMessage(WORD)]
    last: list[Any] = [{"type": "text", "text": WORD}]
    if picture:
        last.append({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})
    options: dict[str, Any] = {"private": private, "label": label, "max_tokens": 16}
    if tools:
        options["tools"] = [{"type": "function", "function": {"name": WORD, "parameters": {}}}]
    receipt = receipt_of(router, [*messages, HumanMessage(last)], options)
    kept = json.loads(json.dumps(receipt))
    # Another object of the policy, with other chance to draw from and other things behind it.
    choice = replay(kept, policies(random.Random(seed + 1000))[which])
    assert choice.order == order_in(kept)
    assert choice.is_that_of(kept)
    passed_over = {
        e["candidate"]: e["reason"]
        for e in kept["candidates"]
        if e.get("reason", "").partition(":")[0] in ("private", "tools", "vision", "json", "length")
    }
    assert dict(choice.passed_over) == passed_over
    assert choice.first == next((n for n in choice.order if not data["abc".index(n)]["open"]), None)
    assert WORD not in json.dumps(kept["inputs"])


def receipt_of(router: Router, messages: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Of the reply, or of the error: the choice is made in either case."""
    try:
        reply = router.invoke(messages, **options)
    except Exception as error:
        receipt = getattr(error, "data", {}).get("receipt")
        if receipt is None:
            raise
        return dict(receipt)
    return dict(reply.response_metadata["nearfar"])


def two(policy: Policy) -> Router:
    candidates = [
        Candidate(name, ScriptedChatModel(["ok"] * 9), price=Price(Decimal(1), Decimal(2)))
        for name in "ab"
    ]
    return Router(candidates=candidates, policy=policy)


def test_a_policy_of_the_users_own_is_replayed_from_what_it_notes() -> None:
    def by_the_moon(request: Any, candidates: Any) -> Any:
        full = request.noted("moon", moon.pop)
        return sorted(candidates, key=lambda c: (c.name == "a") is full)

    moon = [True, False]
    router = two(by_the_moon)
    receipts = [router.invoke("x").response_metadata["nearfar"] for _ in range(2)]
    assert [replay(r, by_the_moon).order for r in receipts] == [("a", "b"), ("b", "a")]


def test_one_that_reads_the_words_cannot_be_replayed_and_the_error_says_so() -> None:
    def by_length(request: Any, candidates: Any) -> Any:
        return candidates if len(request.messages) > 3 else list(reversed(candidates))

    receipt = two(by_length).invoke("x").response_metadata["nearfar"]
    with pytest.raises(UsageError, match="the request's messages"):
        replay(receipt, by_length)


def test_another_policy_says_what_it_would_have_chosen() -> None:
    router = two(POLICIES["priority"]())
    receipt = router.invoke("x").response_metadata["nearfar"]
    other = replay(receipt, only(lambda c: c.name == "b"))
    assert (other.order, other.is_that_of(receipt)) == (("b",), False)


class TestStore:
    def settings(self, **sections: Any) -> Settings:
        dead = {"provider": "openai-compatible", "model": "m", "api_key": "none"}
        dead["base_url"] = "http://127.0.0.1:9/v1"
        routers = {"default": {"candidates": ["dead", "near"], "policy": "near_first"}}
        return Settings.model_validate(
            {"models": {"near": {}, "dead": dead}, "routers": routers, **sections}
        )

    def test_receipts_of_replies_and_errors_are_kept_and_replayed(self) -> None:
        settings = self.settings()
        router = chat_model(settings=settings)
        reply = router.invoke("Hello", max_tokens=2)
        with pytest.raises(NoCandidateError):
            router.bind(model="dead").invoke("Hello", private=True)
        receipts = Receipts.open(settings)
        assert receipts is not None
        error, first = receipts.latest()
        assert first.receipt == reply.response_metadata["nearfar"]
        assert error.receipt["answered_by"] is None
        found = receipts.find(first.receipt["id"][:8])
        assert found == first
        policy = policy_of(settings.routers["default"].policy, settings)
        assert replay(first.receipt, policy).is_that_of(first.receipt)

    def test_only_the_newest_are_kept(self, home_folder: Any) -> None:
        receipts = Receipts.open(self.settings(receipts={"keep": 3}))
        assert receipts is not None
        for number in range(10):
            receipts.put({"id": f"{number:016x}", "router": "r"})
        assert [k.receipt["id"][-1] for k in receipts.latest()] == ["9", "8", "7"]
        assert receipts.find("0") is None  # more than one begins so

    def test_none_are_kept_where_the_settings_say_so(self) -> None:
        settings = self.settings(receipts={"keep": 0})
        assert Receipts.open(settings) is None
        assert (
            chat_model(settings=settings)
            .invoke("Hello", max_tokens=2)
            .response_metadata["nearfar"]["id"]
        )
