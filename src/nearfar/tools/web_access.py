"""What the web tools share: their client, and which hosts they reach without asking."""

from collections.abc import Sequence
from typing import Any

from nearfar.errors import ToolDeniedError
from nearfar.settings import PermissionRule, Settings

from .net import GuardedClient, NetLimits, NetPolicy, Reply, Url, parse_url
from .net.policy import host_pattern
from .policy import Policy, policy_for
from .taint import read_so_far


class WebAccess:
    """One tool's way into the web.

    Hosts that the configuration names are reached without asking; for all others the tool asks, as
    an address can carry away what the model knows. A redirect is not asked about: where it leads
    must be allowed, or lie on the server that was agreed to.
    """

    names = ("host", "origin")  # what permission rules may speak of besides the arguments

    def __init__(
        self,
        tool: str,
        settings: Settings,
        arguments: Sequence[str],
        *,
        hosts: Sequence[str] | None = None,
        private: Sequence[str] | None = None,
        client: GuardedClient | None = None,
    ) -> None:
        web = settings.tools.web
        private = web.private if private is None else private
        hosts = web.hosts if hosts is None else hosts
        policy = NetPolicy(ports=frozenset(web.ports), private_origins=tuple(private))
        limits = NetLimits(total_s=settings.tools.timeout_s, max_bytes=int(web.max_mb * 1_048_576))
        self.client = client or GuardedClient(policy, limits)
        self._tool = tool
        self._after_untrusted = settings.tools.after_untrusted
        rules = [
            *settings.tools.permissions,
            *(_allow(tool, "host", "*" if host == "*" else host_pattern(host)) for host in hosts),
            *(_allow(tool, "origin", parse_url(origin).origin) for origin in private),
        ]
        self.settings = settings.model_copy(
            update={"tools": settings.tools.model_copy(update={"permissions": rules})}
        )
        self._policy: Policy = policy_for(
            tool, rules, default="ask", arguments=[*arguments, *self.names]
        )

    def __call__(self, *, url: str, **_arguments: Any) -> dict[str, str]:
        """The facts of a call for permission rules; raises where nobody may allow it."""
        parsed = parse_url(url)
        self.client.policy.check(parsed)
        return _facts(parsed)

    async def get(self, url: str, **arguments: Any) -> Reply:
        """GET ``url``; ``arguments`` are the call's others, which rules may speak of."""

        def check_hop(before: Url, after: Url) -> None:
            facts = {**arguments, "url": str(after), **_facts(after)}
            ruling = self._policy.decide(self._tool, facts)
            permission = ruling.permission
            if permission == "allow" and read_so_far() and not ruling.even_untrusted:
                permission = self._after_untrusted
            if permission == "allow" or (permission == "ask" and before.origin == after.origin):
                return
            raise ToolDeniedError(
                f"{before.shown} redirects to {after.shown}, which is not allowed without asking.",
                remedy="Call the tool with that address if it is wanted.",
                data={"tool": self._tool, "host": after.host},
            )

        return await self.client.request("GET", url, check_hop=check_hop)


def _facts(url: Url) -> dict[str, str]:
    return {"host": url.host, "origin": url.origin}


def _allow(tool: str, name: str, pattern: str) -> PermissionRule:
    arguments = {name: pattern.replace("[", "[[]")}
    named = pattern != "*"  # for everything is not for each
    return PermissionRule(tool=tool, arguments=arguments, permission="allow", even_untrusted=named)
