"""A record as one line: canonical JSON, whose SHA-256 the next record of its chain carries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import HashAlgorithm

from trivet.pki.keys import signature_algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.pki.keys import PublicKey

FORMAT: Final = 1
"""Of exports; another one is needed as soon as a line's hash would come out differently."""

AUDIT_CHAIN: Final = 1
"""The number of the chain that holds the audit trail. Every other chain holds decisions."""

AUDIT_OPENING: Final = {"chain": AUDIT_CHAIN, "kind": "audit", "type": "chain"}
"""The opening of the audit trail, which is the same everywhere: there is one, so nobody can open another."""

RESTORED: Final = "installation.restore"
"""The action of the audit record of a restore: what was decided since its backup is not in the proof."""

# What is signed begins with these words, which no certificate, CRL or OCSP response begins with (they are DER).
_SIGNED: Final = b"trivet proof v1\n"

Line = dict[str, Any]


def canonical(value: object) -> bytes:
    """JSON in the one spelling that is hashed: sorted names, no spaces, UTF-8, nothing escaped that need not be."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(line: bytes) -> Line:
    """Read a line.

    Raises:
        ValueError: it is not JSON, not an object, or not in the canonical spelling.
    """
    value = json.loads(line)
    if not isinstance(value, dict):
        message = "is not a JSON object"
        raise ValueError(message)  # noqa: TRY004  the line is wrong, not the caller
    if canonical(value) != line:
        message = "is not in the canonical spelling"
        raise ValueError(message)
    return value


def digest(line: bytes) -> str:
    """The SHA-256 of a line, in hexadecimal."""
    return hashlib.sha256(line).hexdigest()


@lru_cache(maxsize=64)  # a batch has one time for all its records
def time_text(moment: datetime) -> str:
    """A time as lines have it: UTC, always with microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parsed_time(text: str) -> datetime:
    """The time of a line.

    Raises:
        ValueError: it is none.
    """
    return datetime.fromisoformat(text).astimezone(UTC)


def to_be_signed(line: Mapping[str, Any]) -> bytes:
    """What the signature of a line covers: all of it but the signature."""
    return _SIGNED + canonical({name: value for name, value in line.items() if name != "signature"})


def with_signature(line: Mapping[str, Any], signature: bytes) -> bytes:
    """The line with its signature, in its canonical spelling."""
    return canonical({**line, "signature": base64.b64encode(signature).decode()})


def is_signed_by(line: Mapping[str, Any], key: PublicKey) -> bool:
    """Whether the key signed the line."""
    try:
        signature = base64.b64decode(line["signature"], validate=True)
        _verify(key, signature, to_be_signed(line))
    except (KeyError, TypeError, ValueError, binascii.Error, InvalidSignature):
        return False
    return True


def _verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    match key, signature_algorithm(key).digest:
        case ec.EllipticCurvePublicKey(), HashAlgorithm() as algorithm:
            key.verify(signature, message, ec.ECDSA(algorithm))
        case rsa.RSAPublicKey(), HashAlgorithm() as algorithm:
            key.verify(signature, message, padding.PKCS1v15(), algorithm)
        case ed25519.Ed25519PublicKey(), None:
            key.verify(signature, message)
        case _:
            raise InvalidSignature
