from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pki.samples import KEY_KINDS, NOW, PrivateKey, dn, plan, private_key, root, sign, signed

from trivet.pki.errors import AuthenticationError, MalformedError, Refusal
from trivet.pki.kubernetes import PROFILES
from trivet.pki.pem import from_der, to_der
from trivet.pki.possession import (
    MAX_MESSAGE_BYTES,
    MESSAGE_TYPE,
    RenewalMessage,
    check_fresh,
    parse_renewal_message,
    sign_renewal_message,
)

KEY = private_key("P-256")
CERTIFICATE = from_der(signed(plan(PROFILES["admin"], KEY)))
CHAIN = [base64.b64encode(to_der(CERTIFICATE)).decode()]
CLAIMS = {"aud": "blue", "iat": int(NOW.timestamp()), "csr": base64.b64encode(b"request").decode()}
HEADER = {"typ": MESSAGE_TYPE, "x5c": CHAIN}


def message(
    header: Mapping[str, object] | None = None,
    claims: Mapping[str, object] | None = None,
    key: PrivateKey | bytes = KEY,
    algorithm: str = "ES256",
) -> bytes:
    headers = {**HEADER, **(header or {})}
    return jwt.encode({**CLAIMS, **(claims or {})}, key, algorithm=algorithm, headers=headers).encode()


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_message_signed_by_the_current_key_is_read(kind: str) -> None:
    key = private_key(kind)
    certificate = from_der(signed(plan(PROFILES["admin"], key)))
    text = sign_renewal_message(key, certificate, b"request", "blue", NOW + timedelta(microseconds=5))
    assert parse_renewal_message(text.encode()) == RenewalMessage(certificate, "blue", NOW, b"request")


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_a_message_signed_by_another_key_is_refused(kind: str) -> None:
    certificate = from_der(signed(plan(PROFILES["admin"], private_key(kind))))
    text = sign_renewal_message(private_key(kind, 1), certificate, b"request", "blue", NOW)
    with pytest.raises(AuthenticationError, match="not signed by the key"):
        parse_renewal_message(text.encode())


def test_a_message_with_changed_claims_is_refused() -> None:
    header, _, signature = message().decode().split(".")
    changed = f"{header}.{encoded({**CLAIMS, 'aud': 'green'})}.{signature}"
    with pytest.raises(AuthenticationError, match="not signed by the key"):
        parse_renewal_message(changed.encode())


def test_the_sender_has_no_choice_of_algorithm() -> None:
    secret = b"a secret of thirty-two octets ..........................................."
    header = {"alg": "none", **HEADER}
    for forged in (
        message(key=secret, algorithm="HS256"),
        f"{encoded(header)}.{encoded(CLAIMS)}.".encode(),
        f"{encoded({**header, 'alg': 'ES384'})}.{encoded(CLAIMS)}.AAAA".encode(),
    ):
        with pytest.raises(MalformedError, match="alg of the certificate's key"):
            parse_renewal_message(forged)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"x5c": []},
        {"x5c": CHAIN * 2},
        {"x5c": "A"},
        {"x5c": [None]},
        {"x5c": None},
        {"x5c": [CHAIN[0] + "!"]},
        {"x5c": [base64.b64encode(b"hello").decode()]},
        {"crit": ["x"]},
    ],
    # Not the values: the chain differs from run to run, and processes that share a run must agree on names.
    ids=["another type", "no chain", "two", "text", "null in it", "null", "no Base64", "no DER", "critical"],
)
def test_a_message_with_a_wrong_header_is_malformed(header: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_renewal_message(message(header))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": None},
        {"aud": ["blue"]},
        {"iat": "now"},
        {"iat": 10**30},
        {"iat": True},
        {"csr": None},
        {"csr": "!"},
        {"csr": "\u00e9"},
    ],
    ids=str,
)
def test_a_message_with_wrong_claims_is_malformed(claims: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_renewal_message(message(claims=claims))


def test_claims_of_time_that_trivet_does_not_use_are_read_over() -> None:
    # They would be compared with a clock that is not the caller's.
    odd = {"nbf": 2**33, "exp": 1, "sub": 5, "jti": 5, "iss": "x"}
    assert parse_renewal_message(message(claims=odd)).audience == "blue"


def test_an_oversize_message_is_refused_unread() -> None:
    with pytest.raises(MalformedError):
        parse_renewal_message(message() + b"A" * MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_deeply_nested_message_is_malformed(opening: bytes) -> None:
    deep = opening * 20_000
    for text in (f"{encoded(deep)}.e30.AAAA", f"{encoded({**HEADER, 'alg': 'ES256'})}.{encoded(deep)}.AAAA"):
        with pytest.raises(Refusal):
            parse_renewal_message(text.encode())
    bad = jwt.PyJWS().encode(deep, KEY, algorithm="ES256", headers=HEADER)
    with pytest.raises(MalformedError):
        parse_renewal_message(bad.encode())


def test_a_certificate_whose_key_cannot_be_used_is_malformed() -> None:
    other = ed448.Ed448PrivateKey.generate().public_key()
    builder = x509.CertificateBuilder(
        dn("a"), dn("a"), other, 1, CERTIFICATE.not_valid_before_utc, CERTIFICATE.not_valid_after_utc
    )
    foreign = sign(builder, root()[1])
    unknown = to_der(foreign).replace(bytes.fromhex("06032b6571"), bytes.fromhex("06032b6501"))
    assert unknown != to_der(foreign)
    for der in (to_der(foreign), unknown):
        with pytest.raises(MalformedError):
            parse_renewal_message(message({"x5c": [base64.b64encode(der).decode()]}))


@given(
    st.binary(max_size=200)
    | st.lists(st.text(max_size=30).map(encoded), max_size=4).map(".".join).map(str.encode)
)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(Refusal):
        parse_renewal_message(body)


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_damaged_message_is_refused_or_says_the_same(place: int, octet: int) -> None:
    body = bytearray(message())
    body[place % len(body)] = octet
    try:
        read = parse_renewal_message(bytes(body))
    except Refusal:
        return
    assert read == parse_renewal_message(message())


@pytest.mark.parametrize("shift", [timedelta(0), timedelta(minutes=5), timedelta(minutes=-5)])
def test_a_message_for_this_cluster_made_just_now_is_fresh(shift: timedelta) -> None:
    check_fresh(parse_renewal_message(message()), "blue", NOW + shift)


def test_a_message_for_another_cluster_or_of_another_time_is_refused() -> None:
    read = parse_renewal_message(message())
    with pytest.raises(AuthenticationError, match="for 'blue', not for 'green'"):
        check_fresh(read, "green", NOW)
    for shift in (timedelta(minutes=5, seconds=1), timedelta(minutes=-5, seconds=-1)):
        with pytest.raises(AuthenticationError, match="check the clocks"):
            check_fresh(read, "blue", NOW + shift)


def test_a_certificate_with_a_weak_key_makes_no_more_than_a_refusal() -> None:
    # PyJWT warns of it, and in tests warnings are errors.
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  it is what must be refused
    planned = replace(plan(PROFILES["admin"], KEY), public_key=weak.public_key())
    chain = [base64.b64encode(signed(planned)).decode()]
    forged = f"{encoded({**HEADER, 'x5c': chain, 'alg': 'PS256'})}.{encoded(CLAIMS)}.AAAA"
    with pytest.raises(Refusal):
        parse_renewal_message(forged.encode())
