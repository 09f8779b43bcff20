"""The certificate requests that are sent: distinct P-384 keys, made once and kept between runs."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = "demo"  # the one that `trivet init` makes
PROFILE = "etcd-peer"  # for servers and clients, with SANs: it can be renewed by its own TLS connection
_PEM = re.compile(rb"-----BEGIN CERTIFICATE REQUEST-----.+?-----END CERTIFICATE REQUEST-----\n", re.DOTALL)


class NodeRequest(NamedTuple):
    """A node's name and its CSR (PEM)."""

    node: str
    pem: bytes


def node_name(number: int) -> str:
    """The name of a node."""
    return f"node-{number}.fleet.example"


def node_address(number: int) -> str:
    """The address of a node."""
    return str(ipaddress.ip_address("10.0.0.0") + 1 + number)


def request_for(number: int, key: ec.EllipticCurvePrivateKey, *, named: bool = True) -> bytes:
    """The CSR (PEM) of a node: one DNS name and one address; or no name at all, as renewals want it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if named:
        sans = [x509.DNSName(node_name(number)), x509.IPAddress(ipaddress.ip_address(node_address(number)))]
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(key, SHA384()).public_bytes(Encoding.PEM)


def pool(count: int, *, named: bool = True) -> list[NodeRequest]:
    """As many requests, each with a key of its own; read from the scratch folder where they were made before."""
    file = scratch() / ("requests-named.pem" if named else "requests-nameless.pem")
    made = _PEM.findall(file.read_bytes()) if file.exists() else []
    if len(made) < count:
        made += [request_for(number, new_key(), named=named) for number in range(len(made), count)]
        file.write_bytes(b"".join(made))
    return [NodeRequest(node_name(number), pem) for number, pem in enumerate(made[:count])]


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-384 key."""
    return ec.generate_private_key(ec.SECP384R1())


def write_pair(path: Path, certificate_pem: bytes, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write a certificate and its key into one file, as `ssl` wants them."""
    path.write_bytes(certificate_pem + key_pem(key))
    return path


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PKCS#8 PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
