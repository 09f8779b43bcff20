from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from pkilint import pkix
from pkilint.loader import RFC5280CertificateListDocumentLoader
from pkilint.pkix import crl as pkilint_crl
from pkilint.pkix import extension, name
from pkilint.validation import ValidationFindingSeverity as Severity
from tests.unit.pki.golden import check_golden
from tests.unit.pki.samples import NOW, ROOT_KINDS, PrivateKey, dn, private_key, root

from trivet.pki.crl import Assembled, CrlPlan, SignedCrl, assemble_crl, check_crl, crl_of, is_signed_by
from trivet.pki.crl_entries import Entries, RevokedEntry, encode_entry
from trivet.pki.keys import signature_algorithm
from trivet.pki.pem import crl_pem
from trivet.pki.plan import Issuer, WronglySignedError, issuer_of
from trivet.pki.reasons import ReasonCode

URL = "http://pki.example.org/pki/blue/cluster/0a/1-of-2.crl"
LISTED = (
    RevokedEntry(2**158 + 1, NOW, ReasonCode.KEY_COMPROMISE, NOW - timedelta(days=1)),
    RevokedEntry(2**158 + 2, NOW),
)


def entries_of(*listed: RevokedEntry) -> Entries:
    entries = Entries()
    entries.add((NOW + timedelta(days=4), encode_entry(entry)) for entry in listed)
    return entries


def plan_of(issuer: Issuer, *points: str) -> CrlPlan:
    return CrlPlan(issuer, NOW, NOW + timedelta(days=3), 1_795_521_600_250, points)


def sign(message: bytes, key: PrivateKey) -> bytes:
    digest = signature_algorithm(key.public_key()).digest
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert isinstance(digest, hashes.HashAlgorithm)
        return key.sign(message, ec.ECDSA(digest))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    assert isinstance(digest, hashes.HashAlgorithm)
    return key.sign(message, padding.PKCS1v15(), digest)


def made(plan: CrlPlan, key: PrivateKey, *listed: RevokedEntry) -> tuple[SignedCrl, Assembled]:
    assembled = assemble_crl(plan, entries_of(*listed))
    return crl_of(assembled, plan.issuer.algorithm, sign(assembled.tbs, key)), assembled


def changes() -> dict[str, tuple[str, Callable[[CrlPlan], CrlPlan]]]:
    second = timedelta(seconds=1)
    return {
        "issuer": ("issuer", lambda p: replace(p, issuer=replace(p.issuer, subject=dn("b")))),
        "this_update": ("thisUpdate", lambda p: replace(p, this_update=p.this_update + second)),
        "next_update": ("nextUpdate", lambda p: replace(p, next_update=p.next_update + second)),
        "number": ("extensions", lambda p: replace(p, number=p.number + 1)),
        "distribution_points": ("extensions", lambda p: replace(p, distribution_points=())),
    }


def test_every_field_of_a_plan_is_changed() -> None:
    assert set(changes()) == {field.name for field in fields(CrlPlan)}


@pytest.mark.parametrize("name", changes())
def test_a_crl_that_differs_from_its_plan_does_not_leave(name: str) -> None:
    certificate, key = root()
    plan = plan_of(issuer_of(certificate), URL)
    part, change = changes()[name]
    signed, assembled = made(change(plan), key, *LISTED)
    public = key.public_key()
    check_crl(change(plan), signed, assembled, 2, public)
    with pytest.raises(WronglySignedError, match=f"in {part}$"):
        check_crl(plan, signed, assembled, 2, public)


def test_a_crl_with_other_entries_or_another_signature_does_not_leave() -> None:
    certificate, key = root()
    plan, public = plan_of(issuer_of(certificate)), key.public_key()
    signed, assembled = made(plan, key, *LISTED)
    with pytest.raises(WronglySignedError, match=r"in revokedCertificates$"):
        check_crl(plan, signed, assembled, 3, public)
    other, _ = made(plan, key, *reversed(LISTED))
    with pytest.raises(WronglySignedError, match=r"in tbsCertList, signatureValue$"):
        check_crl(plan, other, assembled, 2, public)
    with pytest.raises(WronglySignedError, match=r"in signatureValue$"):
        check_crl(plan, signed, assembled, 2, private_key("P-384", 9).public_key())
    with pytest.raises(WronglySignedError, match="cannot be read"):
        check_crl(plan, SignedCrl(signed.der[:-1], 0), assembled, 2, public)


def test_no_octet_of_a_stored_crl_can_change_unnoticed() -> None:
    certificate, key = root()
    signed, _ = made(plan_of(issuer_of(certificate), URL), key, *LISTED)
    public = key.public_key()
    assert is_signed_by(signed.der, public)
    assert not is_signed_by(signed.der, private_key("P-384", 9).public_key())
    assembled_end = len(signed.der) - 110  # the AlgorithmIdentifier outside is compared when it is made
    for place in range(assembled_end):
        changed = bytearray(signed.der)
        changed[place] ^= 0x01
        assert not is_signed_by(bytes(changed), public), place


LINTER = pkilint_crl.create_pkix_crl_validator_container(
    [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ],
    [
        pkilint_crl.create_issuer_validator_container([]),
        pkilint_crl.create_validity_validator_container([]),
        pkilint_crl.create_extensions_validator_container([]),
    ],
)


def findings(der: bytes) -> set[str]:
    document = RFC5280CertificateListDocumentLoader().load_der_document(der)
    return {
        f"{told.finding.severity.name} {told.finding.code}: {told.message}"
        for result in LINTER.validate(document.root)
        for told in result.finding_descriptions
        if told.finding.severity <= Severity.NOTICE
    }


@pytest.mark.parametrize("kind", ROOT_KINDS)
@pytest.mark.parametrize("points", [(), (URL,)], ids=["complete", "shard"])
@pytest.mark.parametrize("listed", [(), LISTED], ids=["empty", "listed"])
def test_pkilint_finds_nothing(kind: str, points: tuple[str, ...], listed: tuple[RevokedEntry, ...]) -> None:
    certificate, key = root(kind)
    signed, _ = made(plan_of(issuer_of(certificate), *points), key, *listed)
    assert findings(signed.der) == set()


def test_pkilint_would_tell_of_a_crl_without_a_number() -> None:
    certificate, key = root()
    signed, _ = made(plan_of(issuer_of(certificate)), key, *LISTED)
    (finding,) = findings(signed.der.replace(bytes.fromhex("0603551d14"), bytes.fromhex("0603551d63")))
    assert "crl_number" in finding


def test_the_bytes_of_a_crl_do_not_change_unnoticed() -> None:
    key = private_key("Ed25519", 2)
    public = key.public_key()
    issuer = Issuer(
        dn("golden", ["Trivet"]), bytes(range(20)), issuer_of(root()[0]).validity, b"0\x05\x06\x03+ep"
    )
    signed, assembled = made(plan_of(issuer, URL), key, *LISTED)
    check_crl(plan_of(issuer, URL), signed, assembled, 2, public)
    check_golden("tests/golden/crl.pem", crl_pem(signed.der).decode())
