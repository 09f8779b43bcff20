"""The canary that watches the whole suite bites: whatever secret is told is found, in whatever is searched."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.responses import JSONResponse, PlainTextResponse
from tests.support.canary import CANARY
from tests.support.clock import Clock
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.metrics.traces import Trace
from trivet.authority.tokens import create_token
from trivet.bootstrap import tracing
from trivet.pki.profiles import AuthorityName
from trivet.signing.age import Identity, Passphrase
from trivet.store import authorities

LOG = logging.getLogger("trivet.somewhere")


@pytest.fixture(autouse=True)
def _loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test before has done to logging."""
    monkeypatch.setattr(LOG, "disabled", False)
    monkeypatch.setattr(LOG, "level", logging.DEBUG)
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    LOG._cache.clear()  # type: ignore[attr-defined]  # of what was enabled before


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url, clock = f"sqlite:///{tmp_path / 'trivet.db'}", Clock()
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    yield world
    world.authority.database.dispose()


def told() -> list[str]:
    return CANARY.complaints()


def test_an_access_token_is_found_wherever_it_is_told(world: World) -> None:
    _, secret = create_token(world.authority, OPERATOR, role=Role.ISSUER)
    LOG.warning("by %s", secret)
    assert told() == ["a token stands in the log", "an access token stands in the log"]
    LOG.warning("request", extra={"fields": {"path": f"/api/{secret[7:40]}{secret[40:]}"}})
    assert told() == []  # without its prefix it is another token
    LOG.error("failed", exc_info=ValueError(secret))
    assert "a token stands in the log" in told()
    JSONResponse({"detail": f"no {secret}"}, 401)
    assert "a token stands in an answer 401" in told()
    PlainTextResponse(f'requests{{by="{secret}"}} 1')
    assert "a token stands in an answer 200" in told()
    told_of = tracing.teller(tracing.provider(SimpleSpanProcessor(InMemorySpanExporter()), 1.0))
    told_of(Trace("issue", None, 1, {"requester": secret}, 2))
    assert "a token stands in a trace" in told()
    JSONResponse({"secret": secret}, 201)  # which is whom it is for
    assert told() == []


def test_keys_are_found(world: World) -> None:
    create_token(world.authority, OPERATOR, role=Role.ISSUER)
    LOG.error("key %s", world.authority.key_encryption_key._secret.hex())
    assert told() == ["a key-encryption key stands in the log"]
    with world.authority.database.read() as connection:
        generation = authorities.active_generation(connection, None, AuthorityName.SERVICE)
    LOG.error("generation %s", generation)
    assert told() == []


def test_passphrases_and_keys_of_backups_are_found() -> None:
    LOG.error("with %s", Passphrase("correct horse battery"))
    assert told() == []
    LOG.error("with %s", Passphrase("correct horse battery").text)
    assert told() == ["a passphrase stands in the log"]
    LOG.error("with %s", Identity(bytes(32)).text())
    assert told() == ["the private key of a backup stands in the log"]


def test_the_logs_of_services_are_searched_for_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/key-encryption.key").write_text("c2VjcmV0IHNlY3JldCBzZWNyZXQ=\n")
    log = tmp_path / "serve.log"
    log.write_text("nothing\n")
    assert CANARY.search(tmp_path) == []
    log.write_text("the key is c2VjcmV0IHNlY3JldCBzZWNyZXQ=\n")
    assert CANARY.search(tmp_path) == ["a key-encryption key stands in serve.log"]
    log.write_text(f'"token": "trivet_{"x" * 43}"\n-----BEGIN PRIVATE KEY-----\\nMIG2AgEAMBAGByqGSM49\n')
    assert CANARY.search(tmp_path) == [
        "an access token stands in serve.log",
        "a private key stands in serve.log",
    ]
    log.unlink()  # the whole suite's are searched at its end


def test_backups_are_searched_for_keys_as_octets(tmp_path: Path, world: World) -> None:
    key = generate_private_key(SECP384R1())
    stored = world.authority.key_encryption_key.encrypt(key)
    octets = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    backup = tmp_path / "one.backup"
    backup.write_bytes(b"age" + stored)
    assert CANARY.search(tmp_path) == []
    backup.write_bytes(b"age" + octets)
    assert CANARY.search(tmp_path) == ["a private key stands in one.backup"]
    backup.unlink()
