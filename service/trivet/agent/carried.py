"""What is carried by hand between a node that cannot reach Trivet and an administrator who can.

    node: RepairRequest      for each certificate a message, signed by its key, with a request for a new key
    administrator: RepairBundle   for each the new certificate and its issuer, or why there is none

Neither holds a secret: the new keys stay on the node. Neither is trusted: the service verifies every message, and the
node checks every certificate against the one that it replaces.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature

from trivet.agent.files.pairs import read_chain
from trivet.client.keys import build_request
from trivet.pki.errors import Fault, InvalidError, MalformedError
from trivet.pki.keys import spki
from trivet.pki.plan import usages_of
from trivet.pki.possession import sign_renewal_message
from trivet.pki.serials import serial_hex
from trivet.pki.subjects import names_of
from trivet.pki.validity import validity_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509

    from trivet.agent.files import KeyPair
    from trivet.client.keys import PrivateKey

API_VERSION: Final = "trivet.io/v1"
MAX_BYTES: Final = 4 * 1024 * 1024
_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class CarriedRequest:
    """A wish to renew one certificate: its name on the node, its serial, and the signed message."""

    name: str
    serial: str
    message: str


@dataclass(frozen=True, slots=True)
class CarriedAnswer:
    """What came of one wish: the new certificate and its issuer (PEM), or the refusal in words."""

    name: str
    serial: str
    certificate: str | None = None
    issuer: str | None = None
    refusal: str | None = None


def request_for(name: str, former: KeyPair, key: PrivateKey, cluster: str, now: datetime) -> CarriedRequest:
    """Sign, by the key of the certificate that is in place, a wish for one for a new key."""
    message = sign_renewal_message(former.key, former.certificate, build_request(key), cluster, now)
    return CarriedRequest(name, serial_hex(former.certificate.serial_number), message)


def dump_requests(cluster: str, requests: Sequence[CarriedRequest], now: datetime) -> bytes:
    """The file that is carried to the administrator."""
    items = [{"name": one.name, "serialNumber": one.serial, "message": one.message} for one in requests]
    return _dump("RepairRequest", cluster, items, {"madeAt": f"{now:%Y-%m-%dT%H:%M:%SZ}"})


def dump_answers(cluster: str, answers: Sequence[CarriedAnswer]) -> bytes:
    """The file that is carried back."""
    items = [
        {
            "name": one.name,
            "serialNumber": one.serial,
            "certificate": one.certificate,
            "issuer": one.issuer,
            "refusal": one.refusal,
        }
        for one in answers
    ]
    return _dump(
        "RepairBundle", cluster, [{k: v for k, v in item.items() if v is not None} for item in items], {}
    )


def _dump(kind: str, cluster: str, items: Sequence[dict[str, Any]], more: dict[str, str]) -> bytes:
    document = {"apiVersion": API_VERSION, "kind": kind, "cluster": cluster, **more, "items": list(items)}
    return json.dumps(document, indent=2).encode() + b"\n"


def parse_requests(text: bytes) -> tuple[str, list[CarriedRequest]]:
    """Read what a node asks for: the cluster, and its wishes.

    Raises:
        MalformedError, InvalidError: it is no RepairRequest.
    """
    cluster, items = _parse(text, "RepairRequest", ("name", "serialNumber", "message"))
    return cluster, [CarriedRequest(item["name"], item["serialNumber"], item["message"]) for item in items]


def parse_answers(text: bytes) -> tuple[str, list[CarriedAnswer]]:
    """Read what an administrator carried back: the cluster, and what came of each wish.

    Raises:
        MalformedError, InvalidError: it is no RepairBundle.
    """
    cluster, items = _parse(text, "RepairBundle", ("name", "serialNumber"))
    return cluster, [
        CarriedAnswer(
            item["name"],
            item["serialNumber"],
            item.get("certificate"),
            item.get("issuer"),
            item.get("refusal"),
        )
        for item in items
    ]


def _parse(text: bytes, kind: str, required: Sequence[str]) -> tuple[str, list[dict[str, str]]]:
    try:
        document = json.loads(text) if len(text) <= MAX_BYTES else None
    except (ValueError, RecursionError) as error:
        message = f"the file is no {kind}: it is not JSON"
        raise MalformedError(message) from error
    if not isinstance(document, dict) or document.get("kind") != kind:
        message = f"the file is no {kind}"
        raise MalformedError(message)
    cluster, items = document.get("cluster"), document.get("items")
    if not isinstance(cluster, str) or not isinstance(items, list) or len(items) > _MOST:
        message = f"a {kind} has a cluster, and up to {_MOST} items"
        raise InvalidError(message, Fault("/items", message))
    for number, item in enumerate(items):
        texts = isinstance(item, dict) and all(isinstance(value, str) for value in item.values())
        if not texts or not set(required) <= item.keys():
            message = f"an item has {', '.join(required)}, all of them strings"
            raise InvalidError(message, Fault(f"/items/{number}", message))
    return cluster, items


def checked_replacement(
    former: x509.Certificate,
    key: PrivateKey,
    answer: CarriedAnswer,
    trusted: Sequence[x509.Certificate],
    now: datetime,
) -> x509.Certificate:
    """The new certificate, if it is what the former one's place needs.

    Args:
        former: the certificate that it replaces.
        key: that was kept for it.
        answer: what was carried back.
        trusted: CA certificates of the node, for where the authority has a new one since.
        now: the time.

    Raises:
        ValueError: it is not; the message says in which way.
    """
    new, issuer = (
        read_chain((answer.certificate or "").encode())[0],
        read_chain((answer.issuer or "").encode())[0],
    )
    for is_wrong, what in (
        (spki(new.public_key()) != spki(key.public_key()), "it is not for the key that was kept for it"),
        (names_of(new) != names_of(former), "it has other names than the one that it replaces"),
        (usages_of(new) != usages_of(former), "it is for another use than the one that it replaces"),
        (now > validity_of(new).not_after, "it has expired already"),
        (not _is_of_authority(issuer, former, trusted), "its issuer is not the one that this node knows"),
        (not _is_issued_by(new, issuer), "it is not signed by its issuer"),
    ):
        if is_wrong:
            message = f"the certificate for {answer.name} does not fit: {what}"
            raise ValueError(message)
    return new


def _is_of_authority(
    issuer: x509.Certificate, former: x509.Certificate, trusted: Sequence[x509.Certificate]
) -> bool:
    # By its key, with which it must have signed the former certificate; or it is one that the node trusts.
    return issuer in trusted or _is_issued_by(former, issuer)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
