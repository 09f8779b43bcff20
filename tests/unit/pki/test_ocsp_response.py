from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st
from pkilint import loader, pkix
from pkilint.pkix import extension, name
from pkilint.pkix import ocsp as lint
from pkilint.validation import ValidationFindingSeverity as Severity
from tests.support.ocsp_requests import cert_id, nonce, request
from tests.unit.pki.samples import NOW, plan, private_key, root, signed

from trivet.pki.keys import signature_algorithm
from trivet.pki.kubernetes import RESPONDER_PROFILES
from trivet.pki.ocsp import parse_status_request
from trivet.pki.ocsp_response import (
    GOOD,
    UNKNOWN,
    Kind,
    ResponderId,
    ResponsePlan,
    Status,
    Unsigned,
    check_response,
    response_data,
    response_of,
)
from trivet.pki.plan import WronglySignedError
from trivet.pki.profiles import AuthorityName
from trivet.pki.reasons import FLAGS, ReasonCode

CA, _ = root()
KEY = private_key("P-384", 5)
CERTIFICATE = signed(plan(RESPONDER_PROFILES[AuthorityName.CLUSTER], KEY))
RESPONDER = ResponderId(CERTIFICATE, signature_algorithm(KEY.public_key()).identifier)
WHOLE_NOW = NOW.replace(microsecond=0)
LINTER = lint.create_pkix_ocsp_response_validator_container(
    [
        lint.create_response_decoder(),
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ],
    [],
)

_BOUNDS = (datetime(1970, 1, 1), datetime(2099, 1, 1))  # noqa: DTZ001  st.datetimes wants them naive
times = st.datetimes(*_BOUNDS, timezones=st.just(UTC))
reasons = st.none() | st.sampled_from(ReasonCode)
statuses = st.one_of(
    st.just(GOOD), st.just(UNKNOWN), st.builds(Status, st.just(Kind.REVOKED), times, reasons)
)


def planned(said: list[tuple[int, Status]], value: bytes | None = None) -> ResponsePlan:
    body = request([cert_id(CA, serial) for serial, _ in said], *([nonce(value)] if value else []))
    read = parse_status_request(body)
    pairs = list(zip(read.certificates, (status for _, status in said), strict=True))
    return ResponsePlan(RESPONDER, pairs, read.nonce, WHOLE_NOW, WHOLE_NOW + timedelta(hours=1))


def made(wanted: ResponsePlan) -> bytes:
    assert isinstance(KEY, ec.EllipticCurvePrivateKey)
    message = response_data(wanted)
    return response_of(wanted, message, KEY.sign(message, ec.ECDSA(SHA384())))


def findings(der: bytes) -> set[str]:
    """Lint a response and give what is a NOTICE or worse."""
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(der)
    return {
        f"{told.finding.severity.name} {told.finding.code}: {told.message}"
        for result in LINTER.validate(document.root)
        for told in result.finding_descriptions
        if told.finding.severity <= Severity.NOTICE
    }


def test_it_is_what_cryptography_would_build() -> None:
    """All but the signature, which is another each time; and cryptography repeats a CertID of its own making."""
    assert isinstance(KEY, ec.EllipticCurvePrivateKey)
    leaf = x509.load_der_x509_certificate(CERTIFICATE)
    for status, said in (
        (GOOD, ocsp.OCSPCertStatus.GOOD),
        (UNKNOWN, ocsp.OCSPCertStatus.UNKNOWN),
        (Status(Kind.REVOKED, NOW, ReasonCode.KEY_COMPROMISE), ocsp.OCSPCertStatus.REVOKED),
    ):
        wanted = planned([(leaf.serial_number, status)], b"n" * 32)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                leaf,
                CA,
                SHA1(),  # noqa: S303
                said,
                wanted.this_update,
                wanted.next_update,
                status.revoked_at,
                FLAGS[status.reason] if status.reason else None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, leaf)
            .certificates([leaf])
            .add_extension(x509.OCSPNonce(b"n" * 32), critical=False)
        )
        theirs = builder.sign(KEY, SHA384())
        ours = ocsp.load_der_ocsp_response(made(replace(wanted, this_update=wanted.this_update)))
        assert _told(ours) == _told(theirs)


def _told(response: ocsp.OCSPResponse) -> tuple[object, ...]:
    (single,) = response.responses
    return (
        response.responder_key_hash,
        response.signature_algorithm_oid,
        [one.public_bytes(Encoding.DER) for one in response.certificates],
        list(response.extensions),
        single.certificate_status,
        single.revocation_time_utc,
        single.revocation_reason,
        single.this_update_utc,
        single.next_update_utc,
        single.issuer_name_hash,
        single.serial_number,
    )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**160 - 1), statuses), min_size=1, max_size=8),
    st.none() | st.binary(min_size=1, max_size=128),
)
def test_what_is_planned_is_read_again(said: list[tuple[int, Status]], value: bytes | None) -> None:
    wanted = planned(said, value)
    der = made(wanted)
    check_response(wanted, der)
    response = ocsp.load_der_ocsp_response(der)
    found = [(one.serial_number, one.certificate_status.name.lower()) for one in response.responses]
    assert found == [(serial, status.kind.value) for serial, status in said]
    x509.load_der_x509_certificate(CERTIFICATE).public_key().verify(  # type: ignore[union-attr,call-arg]
        response.signature,
        response.tbs_response_bytes,
        ec.ECDSA(SHA384()),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("value", [None, b"n" * 32])
@pytest.mark.parametrize(
    "said",
    [
        [(7, GOOD)],
        [(7, UNKNOWN)],
        [(7, Status(Kind.REVOKED, NOW - timedelta(hours=1)))],
        [(7, Status(Kind.REVOKED, NOW - timedelta(hours=1), ReasonCode.KEY_COMPROMISE)), (8, GOOD)],
    ],
)
def test_pkilint_finds_nothing_in_a_response(said: list[tuple[int, Status]], value: bytes | None) -> None:
    assert findings(made(planned(said, value))) == set()


def test_pkilint_would_tell_of_a_response_that_ends_before_it_begins() -> None:
    wanted = planned([(7, GOOD)])
    assert findings(made(replace(wanted, next_update=wanted.this_update - timedelta(hours=1))))


WANTED = planned([(7, GOOD), (8, Status(Kind.REVOKED, NOW, ReasonCode.SUPERSEDED))], b"n" * 32)
_OTHER = NOW.replace(microsecond=0) + timedelta(seconds=1)


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, nonce=None),
        replace(WANTED, nonce=b"m" * 32),
        replace(WANTED, this_update=_OTHER),
        replace(WANTED, next_update=_OTHER),
        replace(WANTED, statuses=list(WANTED.statuses)[:1]),
        replace(WANTED, statuses=list(WANTED.statuses)[::-1]),
        replace(WANTED, statuses=[(WANTED.statuses[0][0], UNKNOWN), WANTED.statuses[1]]),
        replace(WANTED, statuses=[WANTED.statuses[0], (WANTED.statuses[1][0], GOOD)]),
        replace(WANTED, statuses=[WANTED.statuses[0], (WANTED.statuses[1][0], Status(Kind.REVOKED, NOW))]),
        replace(
            WANTED,
            statuses=[
                WANTED.statuses[0],
                (WANTED.statuses[1][0], replace(WANTED.statuses[1][1], revoked_at=_OTHER)),
            ],
        ),
        replace(WANTED, responder=ResponderId(CA.public_bytes(Encoding.DER), RESPONDER.algorithm)),
    ],
)
def test_a_response_that_is_not_as_planned_does_not_leave(other: ResponsePlan) -> None:
    check_response(WANTED, made(WANTED))
    with pytest.raises(WronglySignedError):
        check_response(WANTED, made(other))


def test_what_cannot_be_read_does_not_leave() -> None:
    for der in (b"", b"\x30\x00", made(WANTED)[:-1], *(one.value for one in Unsigned)):
        with pytest.raises(WronglySignedError):
            check_response(WANTED, der)


def test_what_is_not_signed_says_why() -> None:
    read = {one.name: ocsp.load_der_ocsp_response(one.value).response_status.name for one in Unsigned}
    assert read == {name: name for name in read}
    assert len(read) == 4
