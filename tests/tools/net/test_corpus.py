"""Hostile URLs reach nothing that is forbidden, and ordinary ones work: two corpora."""

import datetime
import ipaddress
import json
import ssl
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from nearfar.errors import FetchError, NearfarError, UrlRefusedError
from nearfar.tools.net import GuardedClient, NetLimits, NetPolicy, parse_url
from tests.tools.web_world import World

DATA = Path(__file__).parents[1] / "data"
HOSTILE: list[dict[str, Any]] = json.loads((DATA / "hostile_urls.json").read_text("utf-8"))
ORDINARY: list[dict[str, Any]] = json.loads((DATA / "ordinary_urls.json").read_text("utf-8"))
LIMITS = NetLimits(total_s=0.4, max_bytes=200_000)


def world_of(case: Mapping[str, Any]) -> World:
    redirects = {key: (status, to) for key, (status, to) in case.get("redirects", {}).items()}
    return World(answers=case.get("dns", {}), redirects=redirects, serve=case.get("serve", ""))


def name_of(case: Mapping[str, Any]) -> str:
    return f"{case['kind']}-{case['url']}".encode("unicode_escape").decode()[:70]


def test_the_corpora_are_large_enough() -> None:
    kinds = Counter(case["kind"] for case in HOSTILE)
    assert len(HOSTILE) >= 150
    assert min(kinds.values()) >= 5
    assert len(ORDINARY) >= 50


@pytest.mark.parametrize("case", HOSTILE, ids=name_of)
async def test_a_hostile_url_reaches_nothing_forbidden(case: dict[str, Any]) -> None:
    """Refused; bounded in bytes and time; or, where a name changes its mind, only the checked one."""
    expected = case.get("expect", "refused")
    limits = LIMITS if case["kind"] in {"bomb", "slow"} else NetLimits(total_s=5)
    failed: NearfarError | None = None
    started = time.monotonic()
    async with world_of(case).running() as world:
        try:
            reply = await world.client(limits=limits).get(case["url"])
        except NearfarError as error:
            failed = error
        assert world.canary_calls == 0
        assert not [place for place in world.dialled if place[1] not in {80, 443, 8080, 8443}]
    if expected == "refused":
        assert isinstance(failed, UrlRefusedError)
    elif expected == "error":
        assert isinstance(failed, FetchError)
    elif expected == "safe":
        assert failed is None
        assert len(world.look_ups) == 1
    elif failed is None:
        assert reply.cut
        assert len(reply.body) <= LIMITS.max_bytes
    assert time.monotonic() - started < 5
    assert world.sent_bytes < 50_000_000


async def test_a_naive_client_does_reach_the_canary() -> None:
    """The positive control: without the guard the same world sees the connections."""
    reached: Counter[str] = Counter()
    for case in HOSTILE:
        if case["kind"] in {"bomb", "slow"}:
            continue
        async with world_of(case).running() as world:
            try:
                host = urlsplit(case["url"]).hostname or ""
                for address in await world.resolver(host, 80) if host else ():
                    client = GuardedClient(_Blind(), LIMITS, world.resolver, world.connector)
                    bracket = f"[{address}]" if ":" in address else address
                    await client.get(f"http://{bracket.partition('%')[0]}/")
            except (NearfarError, ValueError, TimeoutError):
                pass
            reached[case["kind"]] += bool(world.canary_calls)
    assert sum(reached.values()) >= 100
    named = {"loopback", "private", "link-local", "metadata", "decimal", "octal", "hex", "ipv6"}
    assert all(reached[kind] >= 5 for kind in named), reached


class _Blind(NetPolicy):
    """A policy that allows everything."""

    def check(self, url: Any) -> None:
        """Look away."""

    def check_addresses(self, url: Any, found: Any) -> Any:
        return [ipaddress.ip_address(address) for address in found]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for all hosts of the ordinary corpus, and a client's that trusts it."""
    hosts = set()
    for case in ORDINARY:
        for url in (case["url"], case.get("lands", "http://x.example")):
            hosts.add(parse_url(url).host)
    folder = tmp_path_factory.mktemp("tls")
    return contexts(folder, sorted(hosts))


def contexts(folder: Path, hosts: list[str]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case["url"][:60])
async def test_an_ordinary_url_works(
    case: dict[str, Any], certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, trusting = certificates
    async with world_of(case).running(server) as world:
        reply = await world.client(tls=trusting).get(case["url"])
        assert reply.status == 200
        assert b"ordinary page" in reply.body
        assert world.canary_calls == 0
        assert world.seen[-1].url == str(reply.url)
        if "lands" in case:
            assert str(reply.url) == case["lands"]


async def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    """Connecting to an address must not mean that the name is no longer looked at."""
    server, trusting = contexts(tmp_path, ["other.example"])
    async with World().running(server) as world:
        with pytest.raises(FetchError) as caught:
            await world.client(tls=trusting).get("https://example.com/")
        assert caught.value.data["reason"] == "certificate"
        assert world.seen == []


@pytest.mark.parametrize("bomb", [case for case in HOSTILE if case["kind"] == "bomb"], ids=name_of)
async def test_a_bomb_takes_little_memory(bomb: dict[str, Any]) -> None:
    async with world_of(bomb).running() as world:
        tracemalloc.start()
        try:
            reply = await world.client(limits=NetLimits(total_s=5, max_bytes=100_000)).get(
                bomb["url"]
            )
            assert len(reply.body) <= 100_000
        except FetchError as error:
            assert error.data["reason"] in {"encoding", "timeout", "protocol"}  # noqa: PT017
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 12_000_000  # the server's own pieces included
