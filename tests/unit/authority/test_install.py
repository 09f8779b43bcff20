from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text
from tests.support.clock import Clock
from tests.support.signing_requests import csr
from tests.support.world import KEY_ENCRYPTION_KEY, World, make_authority

from trivet.authority.context import Authority
from trivet.authority.install import (
    NotReadyError,
    check_ready,
    install,
    issue_service_certificate,
    service_certificate,
)
from trivet.pki.errors import RejectedIdentifierError
from trivet.pki.subjects import names_of
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError
from trivet.signing.file import Keyring
from trivet.store import migrate

OTHER_KEY = KeyEncryptionKey(bytes(32))


@pytest.fixture
def bare(tmp_path: Path) -> Authority:
    """Give an Authority over a database that has a schema and nothing else."""
    authority = make_authority(f"sqlite:///{tmp_path / 'bare.db'}", Clock())
    migrate.upgrade(authority.database)
    return authority


def _with_key(authority: Authority, key: KeyEncryptionKey) -> Authority:
    return replace(authority, key_encryption_key=key, keyring=Keyring(key))


def test_an_installation_is_made_once(bare: Authority) -> None:
    assert install(bare)
    first = service_certificate(bare)
    assert not install(bare)
    assert service_certificate(bare) == first
    check_ready(bare)


def test_the_service_authority_is_a_root_of_ten_years(bare: Authority) -> None:
    install(bare)
    root = x509.load_der_x509_certificate(service_certificate(bare))
    assert root.subject.rfc4514_string() == "CN=Trivet Service CA,O=Trivet"
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=3650)


def test_nothing_is_ready_before_the_installation(bare: Authority) -> None:
    with pytest.raises(NotReadyError, match="trivet init"):
        check_ready(bare)


def test_another_key_encryption_key_is_refused_and_not_shown(bare: Authority) -> None:
    install(bare)
    for use_case in (install, check_ready):
        with pytest.raises(WrongKeyError) as caught:
            use_case(_with_key(bare, OTHER_KEY))
        assert KEY_ENCRYPTION_KEY.check() not in str(caught.value)
    check_ready(_with_key(bare, KEY_ENCRYPTION_KEY))


def test_a_damaged_service_key_is_found_at_the_start(bare: Authority) -> None:
    install(bare)
    with bare.database.write() as connection:
        connection.execute(text("UPDATE generations SET private_key = :key"), {"key": b"damaged"})
    with pytest.raises(WrongKeyError):
        check_ready(bare)


@pytest.mark.parametrize("days", [-1, 3651])
def test_a_clock_outside_of_the_service_authoritys_validity_is_refused(bare: Authority, days: int) -> None:
    install(bare)
    clock = Clock()
    clock.advance(days=days)
    with pytest.raises(NotReadyError, match="set the clock right"):
        check_ready(replace(bare, clock=clock))


def test_the_service_authority_issues_trivets_https_certificate(world: World) -> None:
    issued = issue_service_certificate(world.authority, csr(hosts=("localhost", "127.0.0.1")))
    parsed = x509.load_der_x509_certificate(issued.stored.der)
    parsed.verify_directly_issued_by(x509.load_der_x509_certificate(service_certificate(world.authority)))
    names = names_of(parsed)
    assert (names.common_name, names.dns_names) == ("trivet", ("localhost",))
    assert [str(address) for address in names.ip_addresses] == ["127.0.0.1"]
    assert issued.stored.cluster_id is None
    decision = world.decision(issued.stored.decision_id)
    assert (decision.verdict, decision.cluster_id, decision.profile) == ("issued", None, "trivet-server")


def test_an_https_certificate_needs_a_host(world: World) -> None:
    with pytest.raises(RejectedIdentifierError):
        issue_service_certificate(world.authority, csr())


def test_nobody_can_ask_for_trivets_own_profile(world: World) -> None:
    with pytest.raises(Exception, match="there is no profile 'trivet-server'"):
        world.issue("trivet-server", None, request=csr(hosts=("localhost",)))
