"""Real inputs that are damaged: requests of every kind of key, manifests, messages, bodies."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from functools import cache
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from tests.support.signing_requests import csr, pooled_key
from tests.unit.pki.samples import KEY_KINDS, NOW, dn, private_key, sans, self_signed, signing_request

from trivet.pki.pem import from_der
from trivet.pki.possession import sign_renewal_message

ROOT = Path(__file__).resolve().parents[2]
_HOSTS = ("a.example", "*.b.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.9")


@cache
def requests() -> tuple[x509.CertificateSigningRequest, ...]:
    """CSRs of every kind of key and with every kind of extension; those that verify fast, more often."""
    plain = [
        signing_request(dn("jane", ["team"]), sans(*_HOSTS), key=private_key(kind)) for kind in KEY_KINDS
    ]
    fast = private_key("Ed25519")
    extensions = (
        sans(*_HOSTS),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.SubjectAlternativeName([x509.RFC822Name("a@b"), x509.DirectoryName(dn("x")), x509.DNSName("a")]),
        x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"),
        x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("2.5.4.3"), ["policy"])]),
        x509.TLSFeature([x509.TLSFeatureType.status_request]),
    )
    dressed = [signing_request(dn("jane", ["team"]), extension, key=fast) for extension in extensions]
    hosts = signing_request(None, sans("a.example", "192.0.2.1", "2001:db8::1"), key=fast)
    bare = [signing_request(key=fast), signing_request(dn("jane", ["a", "b"]), key=fast), hosts]
    return (*plain, *dressed, *bare, *dressed[:1] * 6, *bare * 4)


@cache
def request_bodies() -> tuple[bytes, ...]:
    return tuple(
        request.public_bytes(form) for request in requests() for form in (Encoding.PEM, Encoding.DER)
    )


@cache
def request_infos() -> tuple[bytes, ...]:
    """What the fast key signs, so that damage can be signed again."""
    fast = private_key("Ed25519").public_key()
    return tuple(request.tbs_certrequest_bytes for request in requests() if request.public_key() == fast)


@cache
def manifests() -> tuple[dict[str, object], ...]:
    """The documented example, the one of AKS hybrid, and one with every field."""
    files = (ROOT / "docs/examples/renew-revocation.yaml", ROOT / "tests/vectors/renew-revocation.yaml")
    read = [yaml.load(file.read_text(), yaml.BaseLoader) for file in files]  # noqa: S506  text only
    every = {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": "a.b", "labels": {"x/y": "z"}, "annotations": {"a": "b\nc"}, "uid": "1"},
        "spec": {
            "revocations": [
                {"kind": "serialNumber", "serialNumber": "0a:0b", "includeRenewed": False},
                {"kind": "publicKey", "publicKey": "ab" * 32, "notBefore": "2026-01-01T00:00:00.5+02:00"},
                {"kind": "ip", "ip": "10.0.0.0/8"},
                {"kind": "dns", "dns": "bücher.example"},
            ]
        },
        "status": {"marked": 1},
    }
    return (*read, every)


@cache
def json_manifests() -> tuple[bytes, ...]:
    return tuple(json.dumps(manifest).encode() for manifest in manifests())


@cache
def yaml_manifests() -> tuple[bytes, ...]:
    """Short ones: PyYAML reads some 100 kB a second."""
    head = "apiVersion: certificates.microsoft.com/v1\nkind: RenewRevocation\nmetadata:\n  name: a\nspec:\n"
    entries = (
        '{kind: IP, ip: "10.0.0.0/8"}',
        "kind: Group\n    group: team",
        "kind: DNS\n    dns: .a.example",
    )
    return tuple(f"{head}  revocations:\n  - {entry}\n".encode() for entry in entries)


def signed_info(info: bytes) -> bytes:
    return self_signed(info)


@cache
def held() -> x509.Certificate:
    """A certificate for key 0 of the pool, by nobody of note."""
    key = pooled_key(0)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    name = dn("system:node:node-1", ["system:nodes"])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.serial_number(77).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=4))
    return from_der(dated.sign(key, None).public_bytes(Encoding.DER))


@cache
def messages() -> tuple[bytes, ...]:
    """Renewal messages of every kind of key; only that of the fast one is by its certificate's key."""
    signed = [
        sign_renewal_message(pooled_key(0), held(), csr(key=1), "blue", NOW, lifetime).encode()
        for lifetime in (None, timedelta(hours=1))
    ]
    others = [
        sign_renewal_message(private_key(kind), held(), csr(key=1), "blue", NOW).encode()
        for kind in KEY_KINDS
    ]
    return (*signed * 4, *others)


def message_of(header: bytes, claims: bytes) -> bytes:
    """Sign a header and claims of any content with the key of `held`."""
    key = pooled_key(0)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    signing_input = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    return signing_input + b"." + base64.urlsafe_b64encode(key.sign(signing_input)).rstrip(b"=")


@cache
def message_parts() -> tuple[tuple[bytes, bytes], ...]:
    """Header and claims of real messages, and some members that a JWT may have and these have not."""
    found = []
    for message in messages()[:2]:
        header, claims, _ = (base64.urlsafe_b64decode(part + b"==") for part in message.split(b"."))
        found += [(header, claims)] * 4
        odd = json.loads(header) | {"crit": ["b64"], "b64": False, "jku": "https://127.0.0.1", "kid": "../x"}
        found.append((json.dumps(odd).encode(), claims))
        timed = json.loads(claims) | {"nbf": "x", "exp": 1, "aud": ["blue"], "iat": -1, "exs": 10**30}
        found.append((header, json.dumps(timed).encode()))
    return tuple(found)


@cache
def json_bodies() -> tuple[tuple[str, bytes], ...]:
    """Bodies by the name of their schema."""
    pem = x509.load_der_x509_csr(csr()).public_bytes(Encoding.PEM).decode()
    pair = {"certificate": "x", "privateKey": "y"}
    bodies: dict[str, dict[str, object]] = {
        "CertificateCreate": {"profile": "scheduler", "csr": pem, "node": "n", "expirationSeconds": 600},
        "CertificateRenew": {"csr": pem, "expirationSeconds": 600},
        "ClusterCreate": {
            "name": "a", "endpoint": "a.example", "algorithm": "P-384",
            "import": {"cluster": pair, "etcd": pair, "front-proxy": pair},
        },
        "TokenCreate": {"role": "auditor", "description": "d", "cluster": "blue", "expiresInSeconds": 60},
    }  # fmt: skip
    return tuple((name, json.dumps(body).encode()) for name, body in bodies.items())
