"""No connection can be made: the name is not known, the certificate not trusted, nobody accepts."""

import datetime
import ipaddress
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nearfar.llm.cloud import cloud_model
from nearfar.llm.openai_wire import OpenAIWireChatModel
from nearfar.llm.router import Candidate, Router
from nearfar.settings import ModelSettings
from nearfar.testing.fault_server import FaultServer, Reply

from .upstreams import IMPATIENT, Kind, Way, ask, candidate

ANSWER = Reply("one two three")
KINDS: list[tuple[Kind, Way]] = [
    ("lean", "invoke"),
    ("lean", "astream"),
    ("openai", "ainvoke"),
    ("anthropic", "stream"),
    ("ollama", "invoke"),
]
OWN: dict[str, dict[str, str]] = {
    "lean": {"provider": "openai-compatible"},
    "openai": {"provider": "openai", "transport": "sdk"},
    "anthropic": {"provider": "anthropic"},
    "ollama": {"provider": "ollama"},
}


async def answered(kind: Kind, way: Way, address: str) -> dict[str, Any]:
    """The first attempt of a router whose first candidate is at ``address``."""
    given = {"model": "a", "api_key": "none", "base_url": address, **OWN[kind]}
    model = cloud_model("a", ModelSettings.model_validate(given))
    if isinstance(model, OpenAIWireChatModel):
        model.connect_timeout_s = 0.3
    first = Candidate("a", model, provider=OWN[kind]["provider"])
    with FaultServer(default=ANSWER) as spare:
        router = Router(candidates=[first, candidate(spare, kind, "b")], options=IMPATIENT)
        reply = await ask(router, way)
    assert reply.text == ANSWER.text
    attempt: dict[str, Any] = reply.response_metadata["nearfar"]["attempts"][0]
    return attempt


@pytest.mark.parametrize(("kind", "way"), KINDS)
async def test_a_name_that_nobody_knows_moves_on(
    kind: Kind, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if "nowhere" in str(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    attempt = await answered(kind, way, "http://nowhere.invalid/v1")
    assert attempt["fault"] == "dns"


@pytest.mark.parametrize(("kind", "way"), KINDS)
async def test_a_certificate_that_nobody_trusts_moves_on(
    kind: Kind, way: Way, tmp_path: Path
) -> None:
    with tls_server(tmp_path) as port:
        attempt = await answered(kind, way, f"https://127.0.0.1:{port}/v1")
    assert attempt["fault"] == "tls"


@pytest.mark.skipif(
    sys.platform != "linux", reason="how a full backlog behaves is the system's own"
)
@pytest.mark.parametrize(("kind", "way"), KINDS)
async def test_a_server_that_does_not_accept_in_time_moves_on(kind: Kind, way: Way) -> None:
    with full_backlog() as port:
        attempt = await answered(kind, way, f"http://127.0.0.1:{port}/v1")
    # The SDKs have no limit of their own that is shorter than the router's for the first token.
    assert attempt["fault"] == ("connect_timeout" if kind == "lean" else "first_token")


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """A TLS server on loopback whose certificate is its own work."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        port: int = listening.getsockname()[1]
        try:
            yield port
        finally:
            done.set()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            thread.join(5)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue of connections is full: further ones are neither accepted nor refused."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    port: int = listening.getsockname()[1]
    held = []
    for _ in range(4):
        waiting = socket.socket()
        waiting.setblocking(False)
        with suppress(BlockingIOError):
            waiting.connect(("127.0.0.1", port))
        held.append(waiting)
    try:
        yield port
    finally:
        for each in (*held, listening):
            each.close()
