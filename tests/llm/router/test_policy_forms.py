"""Policies that are combined, and policies as the settings say them."""

from datetime import UTC, datetime, time, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from nearfar.errors import ConfigurationError, InvalidParameterError, NoCandidateError
from nearfar.llm import chat_model
from nearfar.llm.router import (
    Candidate,
    Policy,
    Quality,
    Request,
    Router,
    Rule,
    Rules,
    Split,
    When,
    only,
    ordering,
    record_outcome,
)
from nearfar.llm.router.outcomes import Outcomes
from nearfar.llm.router.policies import least_busy, near_first, priority
from nearfar.settings import Settings
from nearfar.testing import ScriptedChatModel

HELLO = [HumanMessage("hello")]
REQUEST = Request(HELLO)


def some(names: str = "abcd", near: str = "", busy: str = "") -> list[Candidate]:
    return [
        Candidate(n, ScriptedChatModel([n] * 3), local=n in near, active=busy.count(n))
        for n in names
    ]


def order(policy: Policy, candidates: list[Candidate], request: Request = REQUEST) -> str:
    return "".join(c.name for c in policy(request, candidates))


def from_settings(policy: Any) -> Router:
    model = {"provider": "openai", "model": "m", "api_key": "none"}
    settings = Settings.model_validate(
        {
            "models": {"near": {}, "a": {**model, "quality": 0.9}, "b": model},
            "routers": {"r": {"candidates": ["near", "a", "b"], "policy": policy}},
        }
    )
    router = chat_model("r", settings=settings)
    assert isinstance(router, Router)
    return router


def chosen(policy: Any, request: Request = REQUEST) -> list[str]:
    router = from_settings(policy)
    return [c.name for c in router.policy(request, router.candidates)]


class TestCombinations:
    def test_then_breaks_ties(self) -> None:
        candidates = some(near="bd", busy="bcc")
        assert order(near_first.then(least_busy), candidates) == "dbac"
        assert order(least_busy.then(near_first), candidates) == "dabc"

    def test_or_appends_what_the_first_leaves_out(self) -> None:
        near = only(lambda candidate: candidate.local)
        assert order(near | least_busy, some(near="c", busy="aab")) == "cdba"

    def test_and_keeps_what_both_give(self) -> None:
        near = only(lambda candidate: candidate.local)
        assert order(least_busy & near, some(near="acd", busy="a")) == "cda"

    def test_plain_functions_combine_too(self) -> None:
        def backwards(_request: Request, candidates: Any) -> Any:
            return candidates[::-1]

        near = only(lambda candidate: candidate.local)
        assert order(backwards & near, some(near="ab")) == "ba"
        assert order(near | backwards, some(near="b")) == "bdca"
        assert order(ordering(backwards).then(priority), some()) == "dcba"

    @given(st.permutations("abcd"), st.sets(st.sampled_from("abcd")), st.integers(0, 3))
    def test_every_combination_gives_each_candidate_at_most_once(
        self, names: list[str], near: set[str], cut: int
    ) -> None:
        candidates = some("".join(names), near="".join(near))
        head = only(lambda candidate: candidate.name in names[:cut])
        for policy in (near_first | head, head | near_first, head & near_first):
            found = order(policy, candidates)
            assert len(set(found)) == len(found)
        assert sorted(order(head | near_first, candidates)) == list("abcd")
        assert sorted(order(head & near_first, candidates)) == sorted(names[:cut])


class TestRules:
    @pytest.mark.parametrize(
        ("when", "fits"),
        [
            (When(), True),
            (When(max_tokens=50), True),
            (When(min_tokens=50), False),
            (When(tools=True), False),
            (When(tools=False, images=False), True),
            (When(label=frozenset({"legal", "tax"})), True),
            (When(label=frozenset({"chat"})), False),
            (When(tag=frozenset({"nightly"})), True),
            (When(tag=frozenset({"other"})), False),
        ],
    )
    def test_a_rule_is_for_such_requests(self, when: When, fits: bool) -> None:
        request = Request(HELLO, label="legal", tags=frozenset({"nightly", "x"}))
        assert when(request) is fits

    @pytest.mark.parametrize(
        ("start", "end", "hour", "fits"),
        [
            (8, 18, 8, True),
            (8, 18, 18, False),
            (22, 6, 23, True),
            (22, 6, 5, True),
            (22, 6, 6, False),
        ],
    )
    def test_hours_may_go_over_midnight(self, start: int, end: int, hour: int, fits: bool) -> None:
        def clock(zone: tzinfo | None) -> datetime:
            return datetime(2026, 1, 5, hour, tzinfo=zone)  # a Monday

        when = When(start=time(start), end=time(end), zone=UTC, clock=clock)
        assert when(REQUEST) is fits
        assert When(days=frozenset({0}), zone=UTC, clock=clock)(REQUEST)
        assert not When(days=frozenset({1, 6}), zone=UTC, clock=clock)(REQUEST)

    def test_the_first_rule_that_fits_decides(self) -> None:
        rules = Rules(
            Rule(When(tools=True), ["a"]),
            Rule(lambda request: request.label == "x", ["c", "b", "gone"]),
            Rule(When(label=frozenset("yx")), near_first),
        )
        candidates = some(near="d")
        assert order(rules, candidates, Request(HELLO, label="x")) == "cb"
        assert order(rules, candidates, Request(HELLO, label="y")) == "dabc"
        assert order(rules, candidates) == "abcd"
        assert order(rules | near_first, candidates, Request(HELLO, label="x")) == "cbda"

    def test_what_a_policy_leaves_out_is_not_asked_and_the_receipt_says_so(self) -> None:
        rules = Rules(Rule(When(label=frozenset({"x"})), ["b"]), Rule(When(), []))
        router = Router(candidates=some("ab"), policy=rules)
        receipt = router.invoke("hi", label="x").response_metadata["nearfar"]
        assert (receipt["answered_by"], receipt["label"]) == ("b", "x")
        assert {"candidate": "a", "reason": "policy: it leaves this one out"}.items() <= receipt[
            "candidates"
        ][0].items()
        with pytest.raises(NoCandidateError, match="policy"):
            router.invoke("hi")

    @pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
    async def test_tags_labels_and_threads_of_the_config_reach_the_policy(self, way: str) -> None:
        seen: list[Request] = []

        def look(request: Request, candidates: Any) -> Any:
            seen.append(request)
            return candidates

        router = Router(candidates=some("a"), policy=look)
        config: Any = {
            "tags": ["nightly"],
            "metadata": {"label": "legal", "priority": "batch"},
            "configurable": {"thread_id": 7},
        }
        match way:
            case "invoke":
                router.invoke("hi", config)
            case "stream":
                assert list(router.stream("hi", config))
            case "ainvoke":
                await router.bind(stop=["x"]).ainvoke("hi", config)
            case _:
                assert [chunk async for chunk in router.astream("hi", config)]
        [request] = seen
        assert "nightly" in request.tags
        assert (request.label, request.thread_id, request.priority) == ("legal", "7", "batch")


class TestSplit:
    def test_a_thread_stays_with_its_candidate_when_another_goes(self) -> None:
        split, candidates = Split(), some()
        for thread in map(str, range(60)):
            request = Request(HELLO, thread_id=thread)
            first = order(split, candidates, request)[0]
            left = [c for c in candidates if c.name in (first, "a", "b")]
            assert order(split, left[::-1], request)[0] == first

    def test_threads_are_shared_out_by_weight(self) -> None:
        split, candidates = Split({"a": 80, "b": 20}), some("abc")
        firsts = [
            order(split, candidates, Request(HELLO, thread_id=str(n)))[0] for n in range(1000)
        ]
        assert 750 < firsts.count("a") < 850
        assert firsts.count("c") == 0

    def test_the_thread_of_a_config_counts_outside_of_graphs_too(self) -> None:
        models = {name: ScriptedChatModel([name] * 40) for name in "ab"}
        router = Router(candidates=[Candidate(n, m) for n, m in models.items()], policy=Split())
        for thread in "uvwxyz":
            config: Any = {"configurable": {"thread_id": thread}}
            assert len({router.invoke("x", config).text for _ in range(3)}) == 1


class TestQuality:
    def test_configured_scores_sort(self) -> None:
        candidates = some("abc")
        candidates[2].quality = 0.9
        assert order(Quality({"b": 0.7}), candidates) == "cba"

    def test_recorded_outcomes_move_the_scores(self) -> None:
        router = from_settings("quality")
        assert [c.name for c in router.policy(REQUEST, router.candidates)] == ["a", "near", "b"]
        for _ in range(12):
            record_outcome({"answered_by": "a"}, 0)
            record_outcome({"answered_by": "b"}, 1)
        assert [c.name for c in router.policy(REQUEST, router.candidates)] == ["b", "near", "a"]

    def test_labels_have_scores_of_their_own(self) -> None:
        policy = from_settings({"quality": {"a": 0.6, "b": 0.5, "near": 0.1}})
        for _ in range(8):
            record_outcome({"answered_by": "near", "label": "greeting"}, 1)
            record_outcome({"answered_by": "a"}, 0.9, label="other")
        request = Request(HELLO, label="greeting")
        assert next(c.name for c in policy.policy(request, policy.candidates)) == "near"
        assert next(c.name for c in policy.policy(REQUEST, policy.candidates)) == "a"

    def test_a_reply_of_a_router_is_what_outcomes_are_of(self) -> None:
        reply = Router(candidates=some("a")).invoke("x", label="l")
        record_outcome(reply, 0.25)
        from nearfar.settings import home

        sums = Outcomes.at(home() / "nearfar.db").sums()
        assert sums == {("a", ""): (1.0, 0.25), ("a", "l"): (1.0, 0.25)}

    @pytest.mark.parametrize("score", [-0.1, 1.1, True, "1"])
    def test_scores_are_from_0_to_1(self, score: Any) -> None:
        with pytest.raises(InvalidParameterError, match="score"):
            record_outcome({"answered_by": "a"}, score)

    def test_a_reply_without_a_receipt_has_no_outcome(self) -> None:
        with pytest.raises(InvalidParameterError, match="receipt"):
            record_outcome(AIMessage("x"), 1)


class TestSettings:
    def test_a_list_breaks_ties(self) -> None:
        assert chosen(["near_first", "quality"]) == ["near", "a", "b"]
        assert chosen(["quality", "near_first"]) == ["a", "near", "b"]

    def test_rules_name_candidates_or_policies(self) -> None:
        policy = {
            "rules": [
                {"when": {"label": ["legal", "tax"]}, "use": ["b"]},
                {"when": {"max_tokens": 20, "tools": False}, "policy": "quality"},
            ]
        }
        assert chosen(policy, Request(HELLO, label="tax")) == ["b"]
        assert chosen(policy) == ["a", "near", "b"]
        long = Request([HumanMessage("word " * 100)])
        assert chosen(policy, long) == ["near", "a", "b"]

    def test_either_and_both(self) -> None:
        rule = {"rules": [{"use": ["b"]}]}
        assert chosen({"either": [rule, "quality"]}) == ["b", "a", "near"]
        assert chosen({"both": ["quality", {"rules": [{"use": ["b", "a"]}]}]}) == ["a", "b"]

    def test_weights_of_a_split(self) -> None:
        assert {chosen({"split": {"b": 1}})[0] for _ in range(5)} == {"b"}

    @pytest.mark.parametrize(
        ("policy", "words"),
        [
            ({"split": {"zz": 1}}, "zz"),
            ({"splits": {"a": 1}}, "policy"),
            ({"rules": [{"when": {"between": "22"}, "use": ["a"]}]}, "22:00-06:00"),
            ({"rules": [{"when": {"zone": "Mars/One"}, "use": ["a"]}]}, "time zone"),
            ({"rules": [{"use": ["a"], "policy": "cost"}]}, "either use"),
            ({"split": {"a": 1}, "quality": {"a": 1}}, "exactly one"),
            (["cost", "cheapest"], "cheapest"),
        ],
    )
    def test_what_is_wrong_is_named(self, policy: Any, words: str) -> None:
        with pytest.raises((ValueError, ConfigurationError), match=words):
            chosen(policy)
