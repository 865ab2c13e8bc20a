"""URLs from models and pages: one strict reading, or a refusal that says why.

What different programs read differently (backslashes, user names, odd numbers, encoded hosts) is not
interpreted but refused: the address that is checked must be the address that is used.
"""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import quote

from nearfar.errors import UrlRefusedError

from .addresses import IPAddress

MAX_URL = 8_000  # characters; servers rarely take more
_DEFAULT_PORTS = {"http": 80, "https": 443}
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PATH_SAFE = "/%:@!$&'()*+,;=-._~[]|^"
_QUERY_SAFE = _PATH_SAFE + '?{}`"'
# Names that never lead to the public internet.
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "lan", "home.arpa", "onion", "alt")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL of http or https, taken apart; ``str`` puts it together in its normal form."""

    scheme: str
    host: str  # lower case, ASCII; an IPv6 address without brackets
    port: int
    target: str  # path and query, percent-encoded

    @property
    def address(self) -> IPAddress | None:
        """The host where it is an address and not a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What credentials belong to: scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def shown(self) -> str:
        """Without the query, which may hold a key: for messages."""
        return self.origin + self.target.partition("?")[0]

    def is_local_name(self) -> bool:
        """Whether the host is a name that only means something on this machine or network."""
        if self.address is not None:
            return False
        return "." not in self.host or any(
            self.host == name or self.host.endswith("." + name) for name in _LOCAL_NAMES
        )

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str) -> Url:
    """The parts of ``text``; raises ``UrlRefusedError`` for all but plain http and https URLs."""
    text = text.strip(" ")
    if len(text) > MAX_URL:
        raise refused(f"it is longer than {MAX_URL} characters", reason="length")
    if any(ord(char) <= 0x20 or char == "\\" or _is_invisible(char) for char in text):
        raise refused(
            "it holds a space, a backslash or an invisible character", reason="characters"
        )
    found = SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if scheme not in _DEFAULT_PORTS:
        raise refused("only http:// and https:// are fetched", reason="scheme")
    rest = text[len(scheme) + 1 :]
    if not rest.startswith("//"):
        raise refused("// is missing after the scheme", reason="form")
    authority, target = _split(rest[2:])
    host, port = _host_and_port(authority, _DEFAULT_PORTS[scheme])
    return Url(scheme, host, port, target)


def refused(why: str, *, reason: str, host: str | None = None) -> UrlRefusedError:
    """The error; ``reason`` is one word for programs."""
    data = {"reason": reason} | ({"host": host} if host else {})
    return UrlRefusedError(f"The URL was refused: {why}.", data=data)


def _is_invisible(char: str) -> bool:
    """Controls, separators other than a space, formatting marks, surrogates, unassigned ones."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


def _split(rest: str) -> tuple[str, str]:
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, tail = rest[:end], rest[end:].partition("#")[0]
    path, question, query = tail.partition("?")
    target = quote(path or "/", safe=_PATH_SAFE)
    return authority, target + question + quote(query, safe=_QUERY_SAFE)


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise refused("it holds a user name or password", reason="userinfo")
    if "%" in authority:
        raise refused("its host holds a percent sign", reason="host")
    if authority.startswith("["):
        inner, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise refused("its brackets do not hold an IPv6 address", reason="host")
        host, port = _ipv6(inner), tail[1:]
    else:
        name, colon, port = authority.partition(":")
        host = _name(name)
        tail = colon + port
    if not tail or tail == ":":
        return host, default_port
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise refused("its port is not a number from 1 to 65535", reason="port", host=host)
    return host, int(port)


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise refused("its brackets do not hold an IPv6 address", reason="host") from None


def _name(name: str) -> str:
    """A name in ASCII, or a dotted IPv4 address; one dot at the end is dropped."""
    labels = [_label(label) for label in name.removesuffix(".").split(".")]
    host = ".".join(labels)
    if len(host) > 253:
        raise refused("its host name is too long", reason="host")
    if _NUMBER.fullmatch(labels[-1]):
        # Octal, hexadecimal and short forms mean different addresses to different programs.
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise refused(
                "its host is a number that is not four decimal numbers", reason="host"
            ) from None
    return host


def _label(label: str) -> str:
    import idna

    if not label.isascii():
        try:
            # Without mapping: what only looks like a letter, a digit or a dot has no encoding.
            label = idna.alabel(unicodedata.normalize("NFC", label.lower())).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise refused(
                "its host holds characters that no name may hold", reason="host"
            ) from None
    label = label.lower()
    if not _LABEL.fullmatch(label):
        raise refused("its host is not a valid name", reason="host")
    return label
