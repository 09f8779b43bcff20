"""Whether what the service gave may take the place of what is there. Nothing is changed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from trivet.agent.files.pairs import KeyPair, checked, read_chain
from trivet.agent.inspection import is_issued_by, name_differences
from trivet.pki.errors import Refusal
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import usages_of
from trivet.pki.subjects import names_of
from trivet.pki.validity import validity_of

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.client.keys import PrivateKey


class NotAsAskedError(ValueError):
    """The service gave something else than was asked for; the message says what. What is in place stays."""


def accepted(pem: str, key: PrivateKey, former: KeyPair, bundle: bytes | None, now: datetime) -> KeyPair:
    """The new pair, if it is what was asked for.

    Args:
        pem: what the service gave.
        key: the key that was to be certified.
        former: the pair that vouched for it.
        bundle: the authority's trust bundle; None where it is not known.
        now: by the node's clock.

    Raises:
        NotAsAskedError: it is not.
    """
    try:
        pair = checked(KeyPair(read_chain(pem.encode()), key))
        words = _fault(pair.certificate, former.certificate, bundle, now)
    except (ValueError, Refusal, *UNREADABLE) as error:
        # MismatchError is a ValueError: the certificate is for another key.
        message = f"the service gave something else than was asked for: {error}"
        raise NotAsAskedError(message) from None
    if words:
        message = f"the service gave something else than was asked for: {words}"
        raise NotAsAskedError(message)
    return pair


def _fault(
    certificate: x509.Certificate, former: x509.Certificate, bundle: bytes | None, now: datetime
) -> str:
    differences = name_differences(names_of(former), certificate)
    if differences:
        return differences
    if usages_of(certificate) != usages_of(former):
        return "its extended key usages are not those of the certificate in place"
    if certificate.serial_number == former.serial_number:
        return "it is the certificate that is in place"
    if _is_authority(certificate):
        return "it is the certificate of a CA"
    if bundle is not None and not is_issued_by(certificate, bundle):
        return "it was not signed by a CA that the trust bundle holds"
    return _worse(certificate, former, now)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _worse(certificate: x509.Certificate, former: x509.Certificate, now: datetime) -> str:
    # A clock that is wrong by a year says so of both; then the service, whose clock is right, knows better.
    validity = validity_of(certificate)
    if validity_of(former).contains(now) and not validity.contains(now):
        start, end = (f"{edge:%Y-%m-%dT%H:%M:%SZ}" for edge in (validity.not_before, validity.not_after))
        return f"by this node's clock it is not in force (from {start} to {end}), and the one in place is"
    return ""
