"""CRLs (RFC 5280 section 5), put together from the DER of their entries, signed elsewhere, and read again.

cryptography's builder copies all entries for each one that is added, so its time grows with their square. Here a CRL
costs one copy of its octets, its hash and one signature; a test holds both to each other, octet for octet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtensionOID

from trivet.pki.crl_entries import extension
from trivet.pki.der import SEQUENCE, bit_string, element, explicit, header, integer, time
from trivet.pki.keys import verify_signature
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import WronglySignedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trivet.pki.crl_entries import Entries
    from trivet.pki.keys import IssuerPublicKey
    from trivet.pki.plan import Issuer

_VERSION_2: Final = integer(1)
# id-ce (RFC 5280 section 5.2)
_OIDS: Final = {
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: bytes.fromhex("0603551d23"),
    ExtensionOID.CRL_NUMBER: bytes.fromhex("0603551d14"),
    ExtensionOID.ISSUING_DISTRIBUTION_POINT: bytes.fromhex("0603551d1c"),
}


@dataclass(frozen=True, slots=True)
class CrlPlan:
    """What a CRL will say beside its entries.

    Attributes:
        this_update: when it was made, in whole seconds.
        next_update: when the next one will have been made at the latest.
        number: larger than that of all before it of the same scope.
        distribution_points: the URLs that certificates of its scope carry; none where it holds all of its issuer's.
    """

    issuer: Issuer
    this_update: datetime
    next_update: datetime
    number: int
    distribution_points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A TBSCertList, DER, and where its entries begin in it."""

    tbs: bytes
    entries_offset: int


@dataclass(frozen=True, slots=True)
class SignedCrl:
    """A CRL, DER, and where its entries begin in it."""

    der: bytes
    entries_offset: int


def assemble_crl(plan: CrlPlan, entries: Entries) -> Assembled:
    """The TBSCertList (RFC 5280 section 5.1): what the authority signs."""
    before = (
        _VERSION_2,
        plan.issuer.algorithm,
        plan.issuer.subject_der,
        time(plan.this_update),
        time(plan.next_update),
        # Absent where nothing is revoked (section 5.1.2.6).
        header(SEQUENCE, entries.size) if entries.size else b"",
    )
    after = element(explicit(0), element(SEQUENCE, *_extensions(plan)))
    opening = sum(map(len, before))
    head = header(SEQUENCE, opening + entries.size + len(after))
    tbs = b"".join((head, *before, *entries.chunks(), after))
    return Assembled(tbs, len(head) + opening)


def crl_of(assembled: Assembled, algorithm: bytes, signature: bytes) -> SignedCrl:
    """The CRL: what was signed, by which AlgorithmIdentifier, and the signature."""
    end = algorithm + bit_string(signature)
    head = header(SEQUENCE, len(assembled.tbs) + len(end))
    return SignedCrl(b"".join((head, assembled.tbs, end)), len(head) + assembled.entries_offset)


def check_crl(
    plan: CrlPlan, signed: SignedCrl, assembled: Assembled, count: int, key: IssuerPublicKey
) -> None:
    """Read what was signed and compare it with the plan, before it leaves.

    Each entry was read again when it was made (`crl_entries.check_entries`); here they are counted.

    Raises:
        WronglySignedError: it differs in any way. This is a defect of Trivet or of its signer.
    """
    try:
        crl = x509.load_der_x509_crl(signed.der)
        differences = _differences(plan, crl, signed.der, assembled, count, key)
    except UNREADABLE as error:
        raise WronglySignedError(f"the CRL that was signed cannot be read: {error}") from error
    if differences:
        raise WronglySignedError(f"the CRL that was signed differs from its plan in {', '.join(differences)}")


def is_signed_by(der: bytes, key: IssuerPublicKey) -> bool:
    """Whether this key signed a CRL that was stored."""
    try:
        signature = x509.load_der_x509_crl(der).signature
    except UNREADABLE:
        return False
    return _is_signature(key, signature, tbs_of(der))


def tbs_of(der: bytes) -> memoryview:
    """What is signed of a CRL that cryptography has read: it tells that as well, but writes it anew, for seconds."""
    tbs = memoryview(der)[len(header(SEQUENCE, _content_size(der))) :]
    size = _content_size(tbs)
    return tbs[: len(header(SEQUENCE, size)) + size]


def _content_size(value: bytes | memoryview) -> int:
    length = value[1]
    return length if length < 0x80 else int.from_bytes(value[2 : 2 + (length & 0x7F)])  # noqa: PLR2004  X.690 8.1.3


def _extensions(plan: CrlPlan) -> list[bytes]:
    return [extension(_OIDS[value.oid], value, critical=critical) for value, critical in _stated(plan)]


def _stated(plan: CrlPlan) -> list[tuple[x509.ExtensionType, bool]]:
    stated: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier(plan.issuer.key_identifier, None, None), False),
        (x509.CRLNumber(plan.number), False),
    ]
    if plan.distribution_points:
        stated.append((_issuing_distribution_point(plan.distribution_points), True))
    return stated


def _issuing_distribution_point(urls: Sequence[str]) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url) for url in urls],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _differences(
    plan: CrlPlan,
    crl: x509.CertificateRevocationList,
    der: bytes,
    assembled: Assembled,
    count: int,
    key: IssuerPublicKey,
) -> list[str]:
    tbs, opening = assembled.tbs, assembled.tbs[: assembled.entries_offset]
    stated = [(found.value, found.critical) for found in crl.extensions]
    checks = (
        # By octets as well, by which Go chains; a comparison of the whole finds any other difference of encoding.
        ("issuer", crl.issuer == plan.issuer.subject and plan.issuer.subject_der in opening),
        ("thisUpdate", crl.last_update_utc == plan.this_update),
        ("nextUpdate", crl.next_update_utc == plan.next_update),
        ("extensions", stated == _stated(plan)),
        ("revokedCertificates", len(crl) == count),
        ("signatureAlgorithm", der.endswith(plan.issuer.algorithm + bit_string(crl.signature))),
        ("tbsCertList", tbs_of(der) == tbs),
        ("signatureValue", _is_signature(key, crl.signature, tbs)),
    )
    return [name for name, equal in checks if not equal]


def _is_signature(key: IssuerPublicKey, signature: bytes, message: bytes | memoryview) -> bool:
    try:
        verify_signature(key, signature, message)
    except InvalidSignature:
        return False
    return True
