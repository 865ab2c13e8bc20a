"""Who may call what: rules in order, matched against the tool's name and its arguments."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any

from nearfar.errors import ConfigurationError, ToolDeniedError
from nearfar.settings import Permission, PermissionRule

from .taint import read_so_far, told


@dataclass(frozen=True, slots=True)
class Ruling:
    """``rule`` is the number of the rule that decided, from 1; None for the tool's own default.

    ``even_untrusted``: it allows the call also after untrusted text was read.
    """

    permission: Permission
    rule: int | None
    even_untrusted: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """The first rule that fits a call decides; ``default`` when none does."""

    rules: tuple[PermissionRule, ...] = ()
    default: Permission = "ask"

    def decide(self, tool: str, arguments: Mapping[str, Any]) -> Ruling:
        """What holds for this call. Arguments that are not text are matched as JSON.

        Letters match without regard to case, so that `DELETE` is found by `*delete*`.
        """
        first: Ruling | None = None
        for number, rule in enumerate(self.rules, start=1):
            if first is not None and rule.permission != "allow":
                continue  # it comes too late to decide
            if not (_fits(rule.tool, tool) and _arguments_fit(rule.arguments, arguments)):
                continue
            if first is None and (rule.permission != "allow" or rule.even_untrusted):
                return Ruling(rule.permission, number, rule.even_untrusted)
            first = first or Ruling(rule.permission, number)
            if rule.even_untrusted:  # one more reason to allow it, and a stronger one
                return Ruling(first.permission, first.rule, even_untrusted=True)
        return first or Ruling(self.default, None)

    def summary(self, tool: str) -> str:
        """For people: ``allow``, or ``ask, by arguments: deny`` where arguments make a difference."""
        by_arguments: list[str] = []
        last: str = self.default
        for rule in self.rules:
            if not _fits(rule.tool, tool):
                continue
            if not rule.arguments:
                last = rule.permission
                break
            by_arguments.append(rule.permission)
        others = sorted(set(by_arguments) - {last})
        return f"{last}, by arguments: {', '.join(others)}" if others else last


def policy_for(
    tool: str, rules: Sequence[PermissionRule], *, default: Permission, arguments: Sequence[str]
) -> Policy:
    """The policy of one tool.

    Raises ConfigurationError where a rule for exactly this tool speaks of an argument that it does
    not have: such a rule would never fit, and a `deny` would deny nothing.
    """
    known = set(arguments)
    for number, rule in enumerate(rules, start=1):
        unknown = sorted(set(rule.arguments) - known)
        if rule.tool == tool and unknown:
            raise ConfigurationError(
                f"Rule {number} of tools.permissions names the argument '{unknown[0]}', which"
                f" {tool} does not have.",
                remedy=f"Its arguments are: {', '.join(sorted(known))}.",
                data={"tool": tool, "argument": unknown[0], "known": sorted(known)},
            )
    return Policy(tuple(rules), default)


def ruled(tool: str, ruling: Ruling, after_untrusted: Permission, *, effects: bool) -> Permission:
    """What holds for a call in the end: by its rules, and by what was read before it.

    Raises ToolDeniedError.
    """
    read = read_so_far()
    if ruling.permission == "deny":
        by = "its default" if ruling.rule is None else f"rule {ruling.rule}"
        raise ToolDeniedError(
            f"This call of {tool} is not allowed ({by} of tools.permissions).", data={"tool": tool}
        )
    if ruling.permission == "ask" or not read or not effects or ruling.even_untrusted:
        return ruling.permission
    if after_untrusted == "deny":
        raise ToolDeniedError(
            f"This call of {tool} is not allowed after text from outside was read.",
            data={"tool": tool},
        )
    return after_untrusted


def with_sources(description: str) -> str:
    """For the person who is asked: what was read before."""
    read = read_so_far()
    if not read:
        return description
    return f"{description}\nText from outside was read before, and may have asked for this: {told(read)}"


def _arguments_fit(patterns: Mapping[str, str], arguments: Mapping[str, Any]) -> bool:
    return all(
        name in arguments and _fits(pattern, _text(arguments[name]))
        for name, pattern in patterns.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _fits(pattern: str, text: str) -> bool:
    return _compiled(_plain(pattern)).match(_plain(text)) is not None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
