"""What a client may reach and what a request may cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .addresses import IPAddress, forbidden_kind, parse_address
from .urls import Url, parse_url, refused

# Never by a name, even under an origin that was allowed: a name's owner decides where it leads.
_NEVER_BY_NAME = frozenset({"metadata", "link-local", "multicast", "unspecified", "reserved"})


@dataclass(frozen=True, slots=True)
class NetLimits:
    """What one request may cost, redirects included."""

    total_s: float = 30
    connect_s: float = 10  # for each address that is tried
    max_bytes: int = 5_000_000  # of the body, both on the wire and decompressed
    max_hops: int = 5  # redirects
    max_addresses: int = 4  # tried, one after the other, before giving up


@dataclass(frozen=True, slots=True)
class NetPolicy:
    """Where requests may go; the default is the public internet on the usual ports.

    ``private_origins`` names servers on this machine or network that are really meant, such as
    ``http://127.0.0.1:8080``: scheme, host and port must all be the same. ``hosts``, where given, is
    the only hosts that are reached otherwise: ``example.com``, or ``*.example.com`` for all below it.
    Malformed entries raise ``UrlRefusedError`` here, not at the first request.
    """

    ports: frozenset[int] = frozenset({80, 443, 8080, 8443})
    private_origins: Sequence[str] = ()
    hosts: Sequence[str] | None = None
    _origins: frozenset[str] = field(init=False, repr=False, default=frozenset())
    _hosts: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        origins = frozenset(parse_url(origin).origin for origin in self.private_origins)
        object.__setattr__(self, "_origins", origins)
        object.__setattr__(self, "_hosts", frozenset(map(host_pattern, self.hosts or ())))

    def check(self, url: Url) -> None:
        """Raise ``UrlRefusedError`` where ``url`` may not be reached, whatever its host leads to."""
        if url.origin in self._origins:
            return
        if url.port not in self.ports:
            raise refused(f"port {url.port} is not allowed", reason="port", host=url.host)
        if self.hosts is not None and not self._is_listed(url.host):
            raise refused("its host is not among the allowed ones", reason="host", host=url.host)
        if url.is_local_name():
            raise refused("its host is a local name", reason="private", host=url.host)
        if url.address is not None:
            self.check_addresses(url, [str(url.address)])

    def check_addresses(self, url: Url, found: Sequence[str]) -> list[IPAddress]:
        """The addresses that ``url``'s host leads to; raises if a single one is forbidden."""
        addresses = list(dict.fromkeys(map(parse_address, found)))
        for address in addresses:
            kind = forbidden_kind(address)
            if kind is None:
                continue
            if url.origin in self._origins and (
                address == url.address or kind not in _NEVER_BY_NAME
            ):
                continue
            error = refused(f"its host leads to a {kind} address", reason="private", host=url.host)
            error.data["kind"] = kind
            raise error
        return addresses

    def _is_listed(self, host: str) -> bool:
        labels = host.split(".")
        above = {"*." + ".".join(labels[start:]) for start in range(1, len(labels))}
        return host in self._hosts or not above.isdisjoint(self._hosts)


def host_pattern(host: str) -> str:
    """The entry with its name as URLs have it after parsing."""
    star = "*." if host.startswith("*.") else ""
    return star + parse_url(f"http://{host.removeprefix('*.')}/").host
