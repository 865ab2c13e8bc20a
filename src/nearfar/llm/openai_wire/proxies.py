"""Which proxy the environment names for an address."""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_for(url: str) -> str | None:
    """The proxy's address, with its credentials, or None: what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
    NO_PROXY say (on macOS and Windows the system's settings too).

    aiohttp's own reading of the environment costs each request two visits to a thread, and looks for
    passwords in ~/.netrc, which nobody expects of a model's key.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
