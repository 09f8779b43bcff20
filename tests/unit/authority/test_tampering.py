"""What whoever can write to the database, but has no key-encryption key, cannot do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import update
from tests.support.world import World

from trivet.pki.errors import AuthenticationError
from trivet.store.tables import certificates


def _forged(serial: int, world: World) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters")])
    now = world.clock()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(serial)
    builder = (
        builder.not_valid_before(now).not_valid_after(now + timedelta(days=4)).public_key(key.public_key())
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_that_was_entered_into_the_database_vouches_for_nobody(world: World) -> None:
    stored = world.issue().stored
    forged = _forged(int(stored.serial, 16), world)
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).values(der=forged))
    with pytest.raises(AuthenticationError):
        world.holder(
            type(stored)(**{field: getattr(stored, field) for field in stored.__slots__} | {"der": forged})
        )


@pytest.mark.parametrize("profile", ["etcd-server", "front-proxy-client", "kubelet-serving", "no such"])
def test_a_certificate_whose_profile_was_changed_in_the_database_vouches_for_nobody(
    world: World, profile: str
) -> None:
    stored = world.issue("scheduler", None).stored if profile == "kubelet-serving" else world.issue().stored
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).values(profile=profile))
    with pytest.raises(AuthenticationError):
        world.holder(stored)


def test_a_certificate_that_was_moved_to_another_cluster_vouches_for_nobody(world: World) -> None:
    stored = world.issue().stored
    other = world.make_cluster("green")
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).values(cluster_id=other.id))
    with pytest.raises(AuthenticationError):
        world.holder(stored)


def test_a_node_is_who_its_certificate_says_whatever_the_database_says(world: World) -> None:
    stored = world.issue(node="node-1").stored
    with world.authority.database.write() as connection:
        connection.execute(update(certificates).values(common_name="system:node:node-2", node="node-2"))
    assert world.holder(stored).node == "node-1"
