"""A real uvicorn over TLS on loopback: who the client is comes from the handshake."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.clock import Clock
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.support.world import World, make_authority, prepare_database
from tests.unit.web.service import PKCS10, slug
from tests.unit.web.test_tls import CA, CLIENT, SERVER, client_context

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.issue import IssuedCertificate
from trivet.authority.tokens import create_token
from trivet.pki.pem import from_der, to_pem
from trivet.pki.revocation import EntryKind
from trivet.store import certificates
from trivet.web.app import create_app
from trivet.web.tls import PeerCertificateProtocol, ServerTls

RENEW = "/api/v1/clusters/blue/certificates/renew"


@contextmanager
def serving(world: World) -> Iterator[int]:
    tls = ServerTls(SERVER.pem + CA.pem, SERVER.key)
    config = uvicorn.Config(
        create_app(world.authority),
        http=PeerCertificateProtocol,
        ws="none",
        log_config=None,
        ssl_context_factory=lambda _config, _default: tls.context,
        timeout_graceful_shutdown=1,
    )
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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # Ten days ago, so that what was issued then has expired by OpenSSL's clock as well as by Trivet's.
    clock = Clock(datetime.now(UTC) - timedelta(days=10))
    url = f"sqlite:///{tmp_path_factory.mktemp('tls') / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster("blue")
    world.make_cluster("red")
    yield world
    world.authority.database.dispose()


@pytest.fixture(scope="module")
def old(world: World) -> IssuedCertificate:
    made = world.issue(node="node-1")
    world.clock.now = datetime.now(UTC)
    return made


@pytest.fixture(scope="module")
def port(world: World) -> Iterator[int]:
    with serving(world) as port:
        yield port


@contextmanager
def client(
    port: int, folder: Path, held: IssuedCertificate | None = None, key: int = 0
) -> Iterator[httpx.Client]:
    """Give a client that presents a certificate, if any."""
    context = client_context(folder)
    if held is not None:
        file = folder / "held.pem"
        private = pooled_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(to_pem([from_der(held.stored.der)]) + private)
        context.load_cert_chain(file)
    with httpx.Client(base_url=f"https://localhost:{port}", verify=context, trust_env=False) as client:
        yield client


def test_a_holder_renews_again_and_again(
    world: World, old: IssuedCertificate, port: int, tmp_path: Path
) -> None:
    del old
    current, key = world.issue(node="node-2"), 0
    for _ in range(3):
        with client(port, tmp_path, current, key) as holder:
            answer = holder.post(RENEW, content=csr(key=key + 1), headers=PKCS10)
            assert answer.status_code == 201, answer.text
        renewed = answer.headers["location"].rpartition("/")[2]
        der = from_der_chain(answer.content)
        with world.authority.database.read() as connection:
            stored = next(row for row in certificates.with_serial(connection, renewed) if row.der == der)
        assert stored.parent_id == current.stored.id
        current, key = IssuedCertificate(stored, current.issuer), key + 1


def from_der_chain(chain: bytes) -> bytes:
    return x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)


def test_an_expired_certificate_reaches_the_use_case(
    old: IssuedCertificate, world: World, port: int, tmp_path: Path
) -> None:
    with client(port, tmp_path, old) as holder:
        refused = holder.post(RENEW, content=csr(key=1), headers=PKCS10)
    assert (refused.status_code, slug(refused)) == (403, "expired")
    assert "an issuer can give this holder a new certificate" in refused.json()["detail"]
    assert world.decision(refused.json()["decision"]).reason == "expired"


def test_a_revoked_certificate_is_refused(
    old: IssuedCertificate, world: World, port: int, tmp_path: Path
) -> None:
    del old
    current = world.issue(node="node-3")
    world.revoke(entry(EntryKind.SERIAL_NUMBER, current.stored.serial))
    with client(port, tmp_path, current) as holder:
        refused = holder.post(RENEW, content=csr(key=1), headers=PKCS10)
    assert (refused.status_code, slug(refused)) == (403, "revoked")


def test_another_cluster_s_certificate_is_refused(
    old: IssuedCertificate, world: World, port: int, tmp_path: Path
) -> None:
    del old
    with client(port, tmp_path, world.issue(node="node-1", cluster="red")) as holder:
        assert holder.post(RENEW, content=csr(key=1), headers=PKCS10).status_code == 403
        assert holder.get("/api/v1/clusters/red").status_code == 200


def test_who_presents_nothing_or_a_foreign_certificate_is_nobody(port: int, tmp_path: Path) -> None:
    foreign = httpx.Client(verify=client_context(tmp_path, CLIENT), trust_env=False)
    with foreign, client(port, tmp_path) as nobody:
        for one in (foreign, nobody):
            answer = one.post(f"https://localhost:{port}{RENEW}", content=csr(), headers=PKCS10)
            assert (answer.status_code, slug(answer)) == (401, "unauthenticated")


def test_a_token_works_beside_tls(old: IssuedCertificate, world: World, port: int, tmp_path: Path) -> None:
    del old
    _, secret = create_token(world.authority, OPERATOR, role=Role.ISSUER)
    path = "/api/v1/clusters/blue/certificates?profile=scheduler"
    with client(port, tmp_path) as issuer:
        answer = issuer.post(path, content=csr(), headers=PKCS10 | {"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 201, answer.text
        too_large = issuer.post(path, content=bytes(1024 * 1024 + 1), headers=PKCS10)
        assert (too_large.status_code, slug(too_large)) == (413, "tooLarge")
        assert issuer.get("/livez").status_code == 200
