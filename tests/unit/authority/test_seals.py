"""The seal of a certificate: what it covers, what it spares, and what it does not open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority import holders
from trivet.authority.install import issue_service_certificate
from trivet.authority.seals import has_seal, sealed
from trivet.pki.errors import AuthenticationError
from trivet.pki.pem import from_der
from trivet.signing.encryption import KeyEncryptionKey
from trivet.store import issuing
from trivet.store.certificates import StoredCertificate
from trivet.store.tables import certificates

FACTS: dict[str, Any] = {
    "id": UUID(int=7),
    "cluster_id": None,
    "authority": "etcd",
    "generation_id": UUID(int=7),
    "serial": "07",
    "profile": "etcd-peer",
    "node": "node-2",
    "common_name": "system:node:node-2",
    "spki_sha256": "07" * 32,
    "issued_at": timedelta(microseconds=1),
    "not_before": timedelta(seconds=1),
    "not_after": timedelta(seconds=1),
    "der": b"\x30\x00",
    "parent_id": UUID(int=7),
    "decision_id": UUID(int=7),
    "requester": "token:7",
}
MAY_CHANGE = {"superseded_at", "revoked_at", "revoked_by"}


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the serials whose signature is looked at."""
    looked_at: list[str] = []
    verify = holders._is_signed_by

    def noted(authority: Any, generation: Any, certificate: Any) -> bool:  # noqa: ANN401
        looked_at.append(format(certificate.serial_number, "x"))
        return verify(authority, generation, certificate)

    monkeypatch.setattr(holders, "_is_signed_by", noted)
    return looked_at


def _change(world: World, **values: Any) -> None:  # noqa: ANN401
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).values(**values))


def test_whatever_is_issued_has_a_seal_as_it_is_stored(world: World) -> None:
    first = world.issue()
    made = [
        first,
        world.renew(first.stored),
        issue_service_certificate(world.authority, csr(hosts=("localhost",))),
    ]
    for issued in made:
        assert has_seal(world.authority, world.stored(issued))


def test_a_seal_spares_the_look_at_the_signature(world: World, signatures: list[str]) -> None:
    stored = world.issue().stored
    assert world.holder(stored).certificate == stored
    assert signatures == []


def test_without_a_seal_the_signature_tells(world: World, signatures: list[str]) -> None:
    stored = world.issue().stored
    _change(world, seal=None)
    assert world.holder(stored).certificate == replace(stored, seal=None)
    assert signatures == [stored.serial]


@pytest.mark.parametrize("fact", FACTS)
def test_a_seal_covers_all_that_is_noted_for_good(world: World, fact: str) -> None:
    stored = world.issue().stored
    value = FACTS[fact]
    changed = getattr(stored, fact) + value if isinstance(value, timedelta) else value
    assert has_seal(world.authority, stored)
    assert not has_seal(world.authority, replace(stored, **{fact: changed}))


def test_what_a_seal_covers_is_all_but_what_may_change() -> None:
    assert FACTS.keys() | MAY_CHANGE | {"seal"} == set(StoredCertificate.__dataclass_fields__)


def test_a_seal_holds_however_the_certificate_stands(world: World) -> None:
    stored = world.issue().stored
    now = world.clock()
    assert has_seal(
        world.authority, replace(stored, superseded_at=now, revoked_at=now, revoked_by=UUID(int=7))
    )


def test_a_seal_under_another_key_is_none(world: World, signatures: list[str]) -> None:
    stored = world.issue().stored
    other = replace(world.authority, key_encryption_key=KeyEncryptionKey(bytes(32)))
    foreign = sealed(other, stored).seal
    assert foreign != stored.seal
    _change(world, seal=foreign)
    assert world.holder(stored).certificate is not None
    assert signatures == [stored.serial]


@pytest.mark.parametrize("seal", ["", "ü" * 32, "0" * 64])
def test_a_seal_that_is_none_opens_nothing(world: World, seal: str) -> None:
    stored = world.issue().stored
    _change(world, seal=seal, der=world.issue(node="node-2").issuer, node="node-3")
    with pytest.raises(AuthenticationError):
        world.holder(replace(stored, der=world.issue(node="node-4").issuer))


def test_the_seal_of_another_certificate_opens_nothing(world: World, signatures: list[str]) -> None:
    mine, theirs = world.issue().stored, world.issue(node="node-2").stored
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).where(certificates.c.id == mine.id).values(seal=theirs.seal))
    assert world.holder(mine).certificate is not None
    assert signatures == [mine.serial]


def test_certificates_are_recognised_together_by_one_look_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = [world.issue(node=f"node-{number}").stored for number in range(3)]
    looked_up: list[set[str]] = []
    of_serials = issuing.of_serials

    def noted(connection: Any, serials: Any) -> Any:  # noqa: ANN401
        looked_up.append(set(serials))
        return of_serials(connection, serials)

    monkeypatch.setattr(issuing, "of_serials", noted)
    shown = [holders.presented(from_der(one.der), f"r-{number}") for number, one in enumerate(issued)]
    foreign = holders.presented(from_der(world.issue().issuer))
    found = holders.recognise_holders(world.authority, [*shown, foreign, shown[0]])
    assert [getattr(one, "certificate", None) for one in found] == [*issued, None, issued[0]]
    assert [getattr(one, "request_id", None) for one in found] == ["r-0", "r-1", "r-2", None, "r-0"]
    assert isinstance(found[3], AuthenticationError)
    assert len(looked_up) == 1
