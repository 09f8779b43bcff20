from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.loader import RFC5280CertificateDocumentLoader
from pkilint.pkix import certificate, extension, name
from pkilint.report import get_findings_count
from pkilint.validation import ValidationFindingSeverity as Severity
from pkilint.validation import ValidationResult
from tests.unit.pki.samples import EVERY_PROFILE, KEY_KINDS, ROOT_KINDS, plan, private_key, root, signed

from trivet.pki.kubernetes import PROFILES
from trivet.pki.profiles import AuthorityName, Profile, SanPolicy

LINTER = certificate.create_pkix_certificate_validator_container(
    certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
    [
        certificate.create_issuer_validator_container([]),
        certificate.create_validity_validator_container(),
        certificate.create_subject_validator_container([]),
        certificate.create_extensions_validator_container([]),
        certificate.create_spki_validator_container([]),
    ],
)


def findings(der: bytes) -> set[str]:
    """Lint a certificate by RFC 5280 and give what is a NOTICE or worse."""
    document = RFC5280CertificateDocumentLoader().load_der_document(der)
    results: list[ValidationResult] = LINTER.validate(document.root)
    found = {
        f"{told.finding.severity.name} {told.finding.code}: {told.message}"
        for result in results
        for told in result.finding_descriptions
        if told.finding.severity <= Severity.NOTICE
    }
    assert bool(found) is bool(get_findings_count(results, Severity.NOTICE))
    return found


@pytest.mark.parametrize("kind", ROOT_KINDS)
@pytest.mark.parametrize("authority", AuthorityName)
def test_pkilint_finds_nothing_in_a_root(authority: AuthorityName, kind: str) -> None:
    assert findings(root(kind, authority)[0].public_bytes(Encoding.DER)) == set()


# Kubernetes demands a name of one label. RFC 5280 section 4.2.1.6 allows it (a <subdomain> of RFC 1034
# section 3.5 may be one <label>), but the package that pkilint asks wants a top-level domain.
ONE_LABEL = 'ERROR pkix.invalid_domain_name_syntax: Invalid domain name syntax: "kubernetes"'


@pytest.mark.parametrize("root_kind", ROOT_KINDS)
@pytest.mark.parametrize("kind", KEY_KINDS)
@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_pkilint_finds_nothing_in_a_leaf(profile: Profile, kind: str, root_kind: str) -> None:
    expected = {ONE_LABEL} if profile.sans is SanPolicy.API_SERVER else set()
    assert findings(signed(plan(profile, private_key(kind), root_kind), root_kind)) == expected


def test_pkilint_would_tell_of_a_leaf_that_may_sign_certificates() -> None:
    der = signed(plan(PROFILES["admin"], private_key("P-256")))
    digital_signature, key_cert_sign = b"\x03\x02\x07\x80", b"\x03\x02\x02\x04"
    (finding,) = findings(der.replace(digital_signature, key_cert_sign))
    assert finding.startswith("ERROR")
