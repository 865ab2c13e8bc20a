"""The first rule that fits decides."""

from typing import Any

import pytest

from nearfar.settings import Permission, PermissionRule
from nearfar.tools.policy import Policy


def rule(tool: str, permission: Permission, **arguments: str) -> PermissionRule:
    return PermissionRule(tool=tool, permission=permission, arguments=arguments)


RULES = (
    rule("files_write", "allow", path="drafts/*"),
    rule("files_*", "deny", path="*secret*"),
    rule("http_api", "ask", body='*"amount": 1*'),
    rule("web_*", "deny"),
)


@pytest.mark.parametrize(
    ("tool", "arguments", "permission", "number"),
    [
        ("files_write", {"path": "drafts/a"}, "allow", 1),
        ("files_write", {"path": "drafts/secret"}, "allow", 1),
        ("files_write", {"path": "a/secret"}, "deny", 2),
        ("files_read", {"path": "A/SECRET"}, "deny", 2),
        ("files_read", {"path": "a/\uff53ecret"}, "deny", 2),
        ("files_read", {"path": "a"}, "ask", None),
        ("files_read", {}, "ask", None),
        ("http_api", {"body": {"amount": 100}}, "ask", 3),
        ("web_fetch", {"url": "x"}, "deny", 4),
        ("web", {}, "ask", None),
    ],
)
def test_decisions(tool: str, arguments: Any, permission: str, number: int | None) -> None:
    ruling = Policy(RULES, default="ask").decide(tool, arguments)
    assert (ruling.permission, ruling.rule) == (permission, number)


def test_a_summary_for_people() -> None:
    policy = Policy(RULES, default="ask")
    assert policy.summary("files_write") == "ask, by arguments: allow, deny"
    assert policy.summary("web_fetch") == "deny"
    assert policy.summary("sql") == "ask"
