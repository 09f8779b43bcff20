"""The renewal message: proof that the sender holds a certificate's key, for where a proxy ends TLS.

It is a JWT (RFC 7519) in compact form, signed by the *current* key:

    header  {"typ": "trivet-renewal+jwt", "alg": …, "x5c": [the current certificate]}
    claims  {"aud": the cluster's name, "iat": when it was made, "csr": Base64 of the new request's DER,
             "exs": the longest lifetime wanted, in seconds (may be left out)}

The new key is bound to the proof because the CSR is inside. A message that is sent again within its few
minutes can only yield a certificate for the very same new key, which whoever replays it does not hold.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from trivet.pki.errors import AuthenticationError, MalformedError
from trivet.pki.pem import UNREADABLE, from_der, to_der

if TYPE_CHECKING:
    from cryptography import x509

    from trivet.pki.keys import PublicKey

MESSAGE_TYPE = "trivet-renewal+jwt"
MAX_AGE = timedelta(minutes=5)
CARRIED_AGE = timedelta(days=7)
"""How old a message may be that an administrator carries by hand, within an open repair window."""
MAX_MESSAGE_BYTES = 128 * 1024
_LONGEST = 10 * 366 * 24 * 3600  # seconds; no certificate lives longer


@dataclass(frozen=True, slots=True)
class RenewalMessage:
    """A renewal message whose signature was verified with the key of `certificate`."""

    certificate: x509.Certificate
    audience: str
    made_at: datetime
    request: bytes
    lifetime: timedelta | None = None


def sign_renewal_message(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    certificate: x509.Certificate,
    request: bytes,
    audience: str,
    now: datetime,
    lifetime: timedelta | None = None,
) -> str:
    """Make a renewal message.

    Args:
        key: the current certificate's private key.
        certificate: the current certificate.
        request: the new CSR, DER.
        audience: the name of the cluster.
        now: the time of making.
        lifetime: the longest wanted; signed, so that whoever passes the message on cannot change it.
    """
    claims: dict[str, Any] = {
        "aud": audience,
        "iat": int(now.timestamp()),
        "csr": base64.b64encode(request).decode(),
    }
    if lifetime is not None:
        claims["exs"] = int(lifetime.total_seconds())
    chain = [base64.b64encode(to_der(certificate)).decode()]
    headers = {"typ": MESSAGE_TYPE, "x5c": chain}
    return jwt.encode(claims, key, algorithm=_algorithm(key.public_key()), headers=headers)


def _algorithm(key: PublicKey) -> str:
    """The one algorithm for a key: the sender has no choice that could confuse (RFC 8725 section 3.1)."""
    match key:
        case ec.EllipticCurvePublicKey():
            return {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}.get(key.curve.name, "")
        case rsa.RSAPublicKey():
            return "PS256"
        case ed25519.Ed25519PublicKey():
            return "EdDSA"
        case _:
            return ""


def parse_renewal_message(message: bytes) -> RenewalMessage:
    """Read a renewal message and verify its signature with the key of the certificate that it carries.

    Whether that certificate is known and in force, the caller finds out.

    Raises:
        MalformedError: it is not such a message.
        AuthenticationError: the signature is not by the certificate's key.
    """
    header, certificate, key = _certificate(message)
    algorithm = _algorithm(key)
    if not algorithm or (header.get("typ"), header.get("alg")) != (MESSAGE_TYPE, algorithm):
        text = f"a renewal message has typ {MESSAGE_TYPE} and the alg of the certificate's key"
        raise MalformedError(text)
    try:
        claims = jwt.decode(message, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
    except jwt.InvalidSignatureError as error:
        text = "the renewal message is not signed by the key of the certificate that it carries"
        raise AuthenticationError(text) from error
    except (jwt.PyJWTError, *UNREADABLE) as error:
        raise _malformed() from error
    return RenewalMessage(certificate, *_claims(claims))


# Times and names are judged by the caller, who has the clock; claims that no message has are read over.
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    **{f"verify_{claim}": False for claim in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")},
}


def _certificate(message: bytes) -> tuple[dict[str, Any], x509.Certificate, PublicKey]:
    if len(message) > MAX_MESSAGE_BYTES:
        raise _malformed()
    try:
        header = jwt.get_unverified_header(message)
        (encoded,) = header["x5c"]
        certificate = from_der(base64.b64decode(encoded, validate=True))
        return header, certificate, certificate.public_key()
    except (jwt.PyJWTError, *UNREADABLE) as error:
        raise _malformed() from error


def _claims(claims: dict[str, Any]) -> tuple[str, datetime, bytes, timedelta | None]:
    audience, request = claims.get("aud"), claims.get("csr")
    if not isinstance(audience, str) or not isinstance(request, str):
        raise _malformed()
    made_at, seconds = _whole_number(claims.get("iat")), claims.get("exs")
    lifetime = timedelta(seconds=min(_whole_number(seconds), _LONGEST)) if seconds is not None else None
    try:
        made = datetime.fromtimestamp(made_at, UTC)
        return audience, made, base64.b64decode(request, validate=True), lifetime
    except (binascii.Error, ValueError, OverflowError, OSError) as error:
        raise _malformed() from error


def _whole_number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed()
    return value


def _malformed() -> MalformedError:
    return MalformedError("this is not a renewal message: a JWT with x5c (one certificate), aud, iat and csr")


def check_fresh(message: RenewalMessage, audience: str, now: datetime, max_age: timedelta = MAX_AGE) -> None:
    """Refuse a message that was made for another cluster, too long ago, or after now by more than clocks differ.

    Raises:
        AuthenticationError: it is.
    """
    if message.audience != audience:
        text = f"the renewal message is for {message.audience[:80]!r}, not for {audience!r}"
        raise AuthenticationError(text)
    if not -MAX_AGE <= now - message.made_at <= max_age:
        made_at = f"{message.made_at:%Y-%m-%dT%H:%M:%SZ}"
        text = f"the renewal message was made at {made_at}; make it anew, and check the clocks"
        raise AuthenticationError(text)
