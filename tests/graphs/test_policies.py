"""Retries, timeouts and error handlers of steps, set in nearfar.yaml."""

from typing import Any

import pytest

from nearfar.errors import ConfigurationError
from nearfar.graphs import find
from nearfar.settings import Settings

from . import flow_with_policies as flow

PLACE = f"{flow.__name__}:graph"
RESCUE = f"{flow.__name__}:rescue"
AT_ONCE = {"wait_s": 0, "jitter": False}


def configured(nodes: dict[str, Any], graph: str | None = PLACE) -> Any:
    settings = Settings.model_validate({"workflows": {"w": {"graph": graph, "nodes": nodes}}})
    return find("w", settings).graph(settings)


@pytest.fixture(autouse=True)
def anew() -> None:
    flow.calls["flaky"] = 0


async def test_retry_timeout_and_error_handler_are_langgraphs_own() -> None:
    graph = configured(
        {
            "flaky": {"retry": {"attempts": 3, **AT_ONCE}},
            "slow": {"timeout_s": 0.05, "on_error": RESCUE},
        }
    )
    told = (await graph.ainvoke({"failures": 2}))["told"]
    assert told == ["flaky", "rescued slow: NodeTimeoutError", "plain"]
    assert flow.calls["flaky"] == 3


async def test_the_users_own_graph_stays_as_it_is() -> None:
    made = configured({"flaky": {"retry": AT_ONCE}, "slow": {"on_error": RESCUE}})
    assert made is not flow.graph
    assert flow.graph.nodes["flaky"].retry_policy is None
    assert "__error_handler__slow" in made.nodes
    assert "__error_handler__slow" not in flow.graph.nodes
    assert "__error_handler__slow" not in flow.builder.nodes
    assert flow.builder.nodes["slow"].error_handler_node is None


async def test_only_the_named_exceptions_are_retried() -> None:
    own = f"{flow.__name__}:OutOfLuckError"
    other = configured({"flaky": {"retry": {"on": ["ConnectionError"], **AT_ONCE}}})
    with pytest.raises(flow.OutOfLuckError):
        await other.ainvoke({"failures": 1})
    assert flow.calls["flaky"] == 1
    graph = configured(
        {"flaky": {"retry": {"on": [own], **AT_ONCE}}, "slow": {"idle_timeout_s": 0.05}}
    )
    with pytest.raises(Exception, match="idle timeout"):
        await graph.ainvoke({"failures": 2})
    assert flow.calls["flaky"] == 3


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ({"flakky": {"timeout_s": 1}}, "has no step 'flakky'.*Did you mean flaky"),
        ({"plain": {"timeout_s": 1}}, "'plain' is sync"),
        ({"slow": {"retry": {"on": ["Nonsense"]}}}, "'Nonsense'.* is no exception"),
        ({"slow": {"retry": {"on": ["builtins:int"]}}}, "is no exception"),
        ({"slow": {"on_error": f"{flow.__name__}:resque"}}, "no attribute 'resque'"),
    ],
)
def test_what_does_not_fit_the_graph_is_a_clear_error(nodes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(nodes)
    import re

    assert re.search(told, f"{caught.value} {caught.value.remedy}", re.DOTALL)


def test_a_workflow_that_is_built_in_can_be_given_policies_without_its_place() -> None:
    settings = Settings.model_validate(
        {"workflows": {"ask": {"nodes": {"answer": {"retry": {"attempts": 2}}}}}}
    )
    graph = find("ask", settings).graph(settings)
    policies = graph.nodes["answer"].retry_policy
    assert policies is not None
    assert policies[0].max_attempts == 2
