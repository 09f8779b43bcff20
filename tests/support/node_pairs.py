"""Certificates of a CA of this process, and planned files for them: a node without a service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import PurePosixPath

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trivet.agent.files import KeyPair
from trivet.agent.plan.model import (
    CombinedStorage,
    EncryptionAlgorithm,
    KubeconfigStorage,
    PairStorage,
    PlannedCertificate,
    PlannedFile,
    Storage,
)
from trivet.pki.kubernetes import PROFILES
from trivet.pki.names import Names

START = datetime(2026, 11, 24, 6, 40, tzinfo=UTC)
BUNDLE = b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n"


@cache
def pair(number: int) -> KeyPair:
    """A pair of its own for each number; a later number begins a minute later."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pair-{number}")])
    start = START + timedelta(minutes=number)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x77FDF4B100000000 + number)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=4))
        .sign(key, hashes.SHA256())
    )
    return KeyPair((certificate,), key)


def planned_file(path: str, mode: int = 0o600) -> PlannedFile:
    return PlannedFile(PurePosixPath(path), mode)


PAIR = PairStorage(
    planned_file("/etc/kubernetes/pki/etcd/server.crt", 0o644),
    planned_file("/etc/kubernetes/pki/etcd/server.key"),
)
COMBINED = CombinedStorage(planned_file("/var/lib/kubelet/pki/kubelet-client-current.pem"))
KUBECONFIG = KubeconfigStorage(
    planned_file("/etc/kubernetes/admin.conf"), "https://10.0.0.10:6443", "demo", "kubernetes-admin"
)


def planned(storage: Storage, name: str = "etcd-server") -> PlannedCertificate:
    return PlannedCertificate(
        name=name,
        profile=PROFILES["etcd-server"],
        node="cp-1",
        sans=("cp-1",),
        common_name=None,
        organizations=(),
        names=Names("cp-1"),
        algorithm=EncryptionAlgorithm.P384,
        validity=None,
        storage=storage,
    )
