"""The TLS edge, seen by real clients of a real uvicorn on loopback; their TLS library is `ssl`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import threading
import time
import warnings
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trivet.web import writes
from trivet.web.tls import PEER_CERTIFICATE, PeerCertificateProtocol, ServerTls, peer_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
UPLOAD = 300_000


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return what RFC 5280 §4.2.1.3 asks of an authority, or of an end entity."""
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def make(
    name: str,
    issuer: Pair | None = None,
    *,
    key: Key | None = None,
    not_before: datetime = NOW - DAY,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Pair:
    """Make a certificate that is valid for two days."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(key_usage(ca=issuer is None), critical=True)
    )
    # Python 3.13's clients verify strictly (VERIFY_X509_STRICT): they want key identifiers and key usage.
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    if issuer:
        for extension in (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            x509.ExtendedKeyUsage([usage]),
            x509.SubjectAlternativeName([x509.DNSName("localhost")]),
        ):
            builder = builder.add_extension(extension, critical=False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


CA = make("Trivet")
CLIENT = make("node", CA)
SERVER = make("localhost", CA, usage=ExtendedKeyUsageOID.SERVER_AUTH)


def client_context(
    folder: Path, presented: Pair | None = None, key_pem: bytes | None = None
) -> ssl.SSLContext:
    """Return what a client needs to trust the server and to present `presented`."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    if presented:
        file = folder / "client.pem"
        file.write_bytes(presented.pem + (key_pem or presented.key_pem))
        context.load_cert_chain(file)
    return context


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what the application sees of its peer, and how much it was sent."""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.6)
    length, more = 0, scope["path"] != "/early"
    while more:
        event = await receive()
        length, more = length + len(event.get("body", b"")), event.get("more_body", False)
    certificate, der = peer_certificate(scope), scope[PEER_CERTIFICATE]
    seen = {
        "peer": der and der.hex(),
        "serial": certificate and str(certificate.serial_number),
        "tls": scope["extensions"].get("tls"),
        "length": length,
    }
    body = json.dumps(seen).encode() if scope["path"] != "/large" else bytes(UPLOAD)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(tls: ServerTls | None, loop: str, patience: int = 1) -> Iterator[int]:
    """Serve `echo` in a thread and yield the port."""
    factory = (lambda _config, _default: tls.context) if tls else None
    config = uvicorn.Config(
        echo,
        http=PeerCertificateProtocol,
        loop=loop,
        ws="none",
        lifespan="off",
        log_config=None,
        ssl_context_factory=factory,
        timeout_graceful_shutdown=patience,
    )
    # asyncio sets TCP_NODELAY only where the socket's protocol is named.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[ServerTls, int]]:
    tls = ServerTls(SERVER.pem + CA.pem, SERVER.key)
    with serving(tls, request.param) as port:
        yield tls, port


@pytest.fixture
def port(server: tuple[ServerTls, int]) -> int:
    return server[1]


def ask(port: int, context: ssl.SSLContext, **headers: str) -> dict[str, Any]:
    with httpx.Client(verify=context, trust_env=False) as client:
        answer: dict[str, Any] = client.get(f"https://localhost:{port}/", headers=headers).json()
        return answer


def ask_again(connection: HTTPConnection, path: str = "/", body: bytes | None = None) -> dict[str, Any]:
    connection.request("POST", path, body=body)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


def shake(server: ServerTls, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Make a handshake in memory and return the client's side and the server's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for side in [ours, theirs] * 4:
        if side in waiting:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return ours, theirs


def test_a_client_without_a_certificate_is_served_as_nobody(port: int, tmp_path: Path) -> None:
    seen = ask(port, client_context(tmp_path))
    assert seen["peer"] is None
    assert seen["tls"]["client_cert_chain"] == []
    assert seen["tls"]["client_cert_error"] is None
    assert seen["tls"]["tls_version"] == 0x0304


@pytest.mark.parametrize(
    "presented",
    [
        pytest.param(CLIENT, id="valid"),
        pytest.param(make("expired", CA, not_before=NOW - 4 * DAY), id="expired"),
        pytest.param(make("early", CA, not_before=NOW + DAY), id="not-yet-valid"),
        pytest.param(make("foreign", make("Another")), id="foreign"),
        pytest.param(make("forged", make("Trivet")), id="foreign-authority-of-our-name"),
        pytest.param(make("self-signed"), id="self-signed"),
        pytest.param(SERVER, id="for-serving-only"),
        pytest.param(make("RSA", CA, key=rsa.generate_private_key(65537, 2048)), id="RSA"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_certificate_whose_key_the_client_holds_reaches_the_application(
    port: int, tmp_path: Path, presented: Pair, version: ssl.TLSVersion
) -> None:
    context = client_context(tmp_path, presented)
    context.minimum_version = context.maximum_version = version
    seen = ask(port, context)
    assert bytes.fromhex(seen["peer"]) == presented.certificate.public_bytes(Encoding.DER)
    assert seen["serial"] == str(presented.certificate.serial_number)
    assert seen["tls"]["client_cert_chain"] == [presented.pem.decode()]
    assert seen["tls"]["client_cert_error"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_without_its_key_is_refused(port: int, tmp_path: Path, version: ssl.TLSVersion) -> None:
    thief = make("thief")
    point = (Encoding.X962, PublicFormat.UncompressedPoint)
    # The thief's scalar beside the victim's point: OpenSSL compares the point only, so the client signs.
    key_der = thief.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    key_der = key_der.replace(
        thief.key.public_key().public_bytes(*point), CLIENT.key.public_key().public_bytes(*point)
    )
    key_pem = ssl.DER_cert_to_PEM_cert(key_der).replace("CERTIFICATE", "EC PRIVATE KEY").encode()
    context = client_context(tmp_path, CLIENT, key_pem)
    context.minimum_version = context.maximum_version = version
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        ask(port, context)
    assert ask(port, client_context(tmp_path, CLIENT))["peer"]


def test_no_header_forges_a_peer_certificate(port: int, tmp_path: Path) -> None:
    pem = CLIENT.pem.decode().replace("\n", "%0A")
    names = ["trivet.peer_certificate", "x-client-cert", "x-ssl-client-cert", "ssl-client-cert"]
    names += ["x-forwarded-client-cert", "client-cert", "x-forwarded-tls-client-cert"]
    seen = ask(port, client_context(tmp_path), **dict.fromkeys(names, pem))
    assert seen["peer"] is None
    assert seen["tls"]["client_cert_chain"] == []


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_plain_http_has_no_peer_certificate(loop: str) -> None:
    with serving(None, loop) as port, closing(HTTPConnection("127.0.0.1", port)) as connection:
        seen = ask_again(connection)
    assert seen["peer"] is None
    assert seen["tls"] is None


def test_a_connection_carries_its_certificate_on_every_request(port: int, tmp_path: Path) -> None:
    context = client_context(tmp_path, CLIENT)
    with closing(HTTPSConnection("localhost", port, context=context)) as connection:
        serials = [ask_again(connection)["serial"] for _ in range(3)]
    assert serials == [str(CLIENT.certificate.serial_number)] * 3


def test_a_new_server_certificate_is_for_new_connections_and_old_ones_go_on(
    server: tuple[ServerTls, int], tmp_path: Path
) -> None:
    tls, port = server
    context = client_context(tmp_path, CLIENT)

    def served(connection: HTTPSConnection) -> bytes | None:
        assert ask_again(connection)["peer"]
        over_tls: ssl.SSLSocket = connection.sock
        return over_tls.getpeercert(binary_form=True)

    fresh = make("localhost", CA, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    with (
        closing(HTTPSConnection("localhost", port, context=context)) as old,
        closing(HTTPSConnection("localhost", port, context=context)) as new,
    ):
        before = served(old)
        tls.load(fresh.pem + CA.pem, fresh.key)
        assert served(old) == before
        assert served(new) == fresh.certificate.public_bytes(Encoding.DER) != before


def test_a_key_of_another_certificate_is_refused_and_the_former_pair_stays(tmp_path: Path) -> None:
    tls = ServerTls(SERVER.pem, SERVER.key)
    with pytest.raises(ValueError, match="does not belong"):
        tls.load(SERVER.pem, CLIENT.key)
    with pytest.raises(ValueError, match="PEM"):
        tls.load(b"", SERVER.key)
    ours, _ = shake(tls, client_context(tmp_path))
    assert ours.getpeercert(binary_form=True) == SERVER.certificate.public_bytes(Encoding.DER)


def test_loading_a_private_key_opens_no_file() -> None:
    watching, opened = True, []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in {"open", "os.mkdir", "os.rename"}:
            opened.append(arguments)

    sys.addaudithook(watch)
    os.close(os.open(os.devnull, os.O_RDONLY))
    ServerTls(SERVER.pem + CA.pem, SERVER.key).load(SERVER.pem, SERVER.key)
    watching = False
    assert [path for path, *_ in opened] == [os.devnull]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(port: int, tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = client_context(tmp_path, CLIENT)
    context.minimum_version = context.maximum_version = version
    session = None
    for _ in range(2):
        with closing(HTTPSConnection("localhost", port)) as connection:
            raw = socket.create_connection(("127.0.0.1", port))
            connection.sock = over_tls = context.wrap_socket(
                raw, server_hostname="localhost", session=session
            )
            assert ask_again(connection)["peer"]
            session = over_tls.session
            assert not over_tls.session_reused


RSA_SERVER = make(
    "localhost", CA, key=rsa.generate_private_key(65537, 2048), usage=ExtendedKeyUsageOID.SERVER_AUTH
)


@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"])
def test_modern_suites_of_tls_1_2_are_accepted(tmp_path: Path, suite: str) -> None:
    context = client_context(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    expected = (suite, "TLSv1.2", 128 if "128" in suite else 256)
    for side in shake(ServerTls(RSA_SERVER.pem, RSA_SERVER.key), context):
        assert side.cipher() == expected


@pytest.mark.parametrize(
    "suite",
    [
        pytest.param("ECDHE-RSA-AES128-SHA256", id="CBC"),
        pytest.param("ECDHE-RSA-AES256-SHA", id="CBC-SHA1"),
        pytest.param("AES128-GCM-SHA256", id="RSA-key-exchange"),
        pytest.param("DHE-RSA-AES128-GCM-SHA256", id="finite-field"),
    ],
)
def test_weak_suites_of_tls_1_2_are_refused(tmp_path: Path, suite: str) -> None:
    context = client_context(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suite}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="no shared cipher"):
        shake(ServerTls(RSA_SERVER.pem, RSA_SERVER.key), context)


def test_tls_1_1_is_refused(tmp_path: Path) -> None:
    context = client_context(tmp_path)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="unsupported protocol"):
        shake(ServerTls(RSA_SERVER.pem, RSA_SERVER.key), context)


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
def test_http_1_1_is_negotiated(tmp_path: Path, offered: list[str], chosen: str | None) -> None:
    context = client_context(tmp_path)
    if offered:
        context.set_alpn_protocols(offered)
    ours, _ = shake(ServerTls(SERVER.pem, SERVER.key), context)
    assert ours.selected_alpn_protocol() == chosen


def test_a_body_in_thousands_of_small_records_arrives_whole(port: int, tmp_path: Path) -> None:
    context = client_context(tmp_path)
    with closing(HTTPSConnection("localhost", port, context=context)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("content-length", str(UPLOAD))
        connection.endheaders()
        for _ in range(UPLOAD // 100):
            connection.send(bytes(100))
        assert json.loads(connection.getresponse().read())["length"] == UPLOAD


def test_large_bodies_pass_both_ways(port: int, tmp_path: Path) -> None:
    context = client_context(tmp_path)
    with closing(HTTPSConnection("localhost", port, context=context)) as connection:
        assert ask_again(connection, body=bytes(UPLOAD))["length"] == UPLOAD
        connection.request("GET", "/large")
        assert connection.getresponse().read() == bytes(UPLOAD)


@pytest.mark.parametrize("header", ["", "connection: close\r\n"])
def test_a_connection_closes_cleanly_from_either_side(port: int, tmp_path: Path, header: str) -> None:
    raw = socket.create_connection(("127.0.0.1", port))
    context = client_context(tmp_path)
    with context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as over_tls:
        over_tls.sendall(f"GET / HTTP/1.1\r\nhost: localhost\r\n{header}\r\n".encode())
        received = b""
        while b'"length"' not in received:
            received += over_tls.recv(8192)
        if header:
            assert over_tls.recv(8192) == b""  # without the server's close_notify this would raise
        over_tls.unwrap()  # and this


def test_the_server_waits_for_the_end_of_its_peer(tmp_path: Path) -> None:
    ours, theirs = shake(ServerTls(SERVER.pem, SERVER.key), client_context(tmp_path))
    with pytest.raises(ssl.SSLWantReadError):
        theirs.unwrap()
    ours.unwrap()
    theirs.unwrap()
    assert theirs.read(1) == b""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_idle_client_that_does_not_say_goodbye_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loop: str
) -> None:
    monkeypatch.setattr(writes, "FAREWELL_SECONDS", 0.1)
    with ExitStack() as clients:
        with serving(ServerTls(SERVER.pem + CA.pem, SERVER.key), loop, patience=20) as port:
            idle = clients.enter_context(connected(port, tmp_path))
            idle.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert idle.recv(8192).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
        assert time.monotonic() - began < 10


def test_a_slow_reader_gets_all_though_the_connection_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writes, "FAREWELL_SECONDS", 0.1)
    monkeypatch.setattr(sys.modules[__name__], "UPLOAD", 16 * 1024 * 1024)  # more than sockets hold
    with (
        serving(ServerTls(SERVER.pem + CA.pem, SERVER.key), "uvloop") as port,
        connected(port, tmp_path) as slow,
    ):
        slow.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        time.sleep(0.5)
        assert sum(map(len, iter(lambda: slow.recv(1 << 16), b""))) > UPLOAD


def connected(port: int, folder: Path) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port))
    return client_context(folder).wrap_socket(raw, server_hostname="localhost")


def test_a_scope_without_a_readable_certificate_names_no_peer() -> None:
    assert peer_certificate({}) is None
    assert peer_certificate({PEER_CERTIFICATE: None}) is None
    with pytest.raises(ValueError, match="parsing"):
        peer_certificate({PEER_CERTIFICATE: b"not DER"})


def test_noise_instead_of_a_handshake_hurts_nobody_else(port: int, tmp_path: Path) -> None:
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100), b""):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(noise)
    assert ask(port, client_context(tmp_path, CLIENT))["peer"]


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_connection_that_does_not_ask_in_time_is_closed(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.2)
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as idle:
        idle.sendall(sent)
        assert idle.recv(1) == b""


@pytest.mark.parametrize(
    ("asked", "later"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n", id="an empty line"),
        pytest.param(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", b"xy", id="the body"),
    ],
)
def test_what_comes_after_an_answer_and_begins_no_request_is_no_reason_to_stay(
    monkeypatch: pytest.MonkeyPatch, asked: bytes, later: bytes
) -> None:
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.2)
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as idle:
        idle.sendall(asked)
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        idle.sendall(later)
        assert idle.recv(1) == b""


def answered_of(ahead: int) -> int:
    """How many of so many requests and one more are answered that come before anything is read."""
    asked, found = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n", bytearray()
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as eager:
        eager.sendall(asked % b"" * ahead + asked % b"Connection: close\r\n")
        with suppress(ConnectionResetError):
            while received := eager.recv(1 << 16):
                found += received
    return found.count(b"HTTP/1.1 200")


def test_whoever_asks_far_ahead_of_the_answers_is_not_listened_to() -> None:
    assert answered_of(100) == 101
    assert answered_of(1000) < 1000


def test_whoever_sends_much_ahead_and_reads_is_only_slowed_down() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000)
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as eager:
        sending = threading.Thread(target=eager.sendall, args=(request * 400,))
        sending.start()
        found = bytearray()
        while found.count(b"HTTP/1.1 200") < 400 and (received := eager.recv(1 << 16)):
            found += received
        sending.join()
    assert found.count(b"HTTP/1.1 200") == found.count(b'"length": 60000') == 400


def test_what_is_not_read_yet_is_not_called_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.2)
    asked = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as eager:
        eager.sendall(asked % b"/slow" + asked % b"/" + (asked % b"/")[:9])
        time.sleep(0.1)
        eager.sendall((asked % b"/")[9:])
        found = bytearray()
        while received := eager.recv(1 << 16):
            found += received
    assert found.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", id="and stays"),
        pytest.param(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 2, id="and wants more"),
        pytest.param(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", id="and closes"),
    ],
)
@pytest.mark.parametrize(("pause", "given_up"), [(0.0, False), (1.2, True)])
def test_whoever_takes_nothing_of_an_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, asked: bytes, pause: float, *, given_up: bool
) -> None:
    for module in ("trivet.web.tls", "trivet.web.writes"):
        monkeypatch.setattr(f"{module}.STALLED_SECONDS", 0.5)
    monkeypatch.setattr(writes, "FAREWELL_SECONDS", 0.1)
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.3)
    monkeypatch.setattr(sys.modules[__name__], "UPLOAD", 16 * 1024 * 1024)  # more than sockets hold
    with serving(None, "uvloop") as port, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.settimeout(5)
        slow.connect(("127.0.0.1", port))
        slow.sendall(asked)
        time.sleep(pause)
        assert (received_of(slow) < UPLOAD) is given_up


def received_of(wire: socket.socket) -> int:
    """How much of one answer comes, read slowly."""
    length = 0
    with suppress(ConnectionResetError):
        while length < UPLOAD and (received := wire.recv(1 << 16)):
            length += len(received)
            time.sleep(0.004)
    return length


def test_a_body_that_does_not_come_to_its_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.2)
    monkeypatch.setattr(PeerCertificateProtocol, "body_seconds", 0.4)
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
        assert slow.recv(12) == b""


def test_a_request_may_take_its_time_once_its_headers_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerCertificateProtocol, "request_seconds", 0.2)
    with serving(None, "uvloop") as port, socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
        time.sleep(0.4)
        slow.sendall(b"y")
        assert slow.recv(12) == b"HTTP/1.1 200"
