"""Damaged requests at both engines: what one of them accepts or refuses, so does the other."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fuzz.mutate import damaged, damaged_der
from tests.fuzz.tally import ACCEPTED, TIMES, generator, outcome_of, shown
from tests.unit.pki.samples import dn, private_key, sans, signing_request, tlv

from trivet.pki.csr import parse_certificate_request

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Attribute's length")]
COUNT = 12_000
# The AlgorithmIdentifiers of ecdsa-with-SHA256, -SHA384, -SHA512, -SHA1, and that of Ed25519.
_ALGORITHMS = (
    "06082a8648ce3d040302",
    "06082a8648ce3d040303",
    "06082a8648ce3d040304",
    "06072a8648ce3d0401",
    "06032b6570",
)


def seeds() -> list[tuple[ec.EllipticCurvePrivateKey, x509.CertificateSigningRequest]]:
    found = []
    for kind in ("P-256", "P-384"):
        key = private_key(kind)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found.append((key, signing_request(dn("jane", ["team"]), sans("a.example", "192.0.2.1"), key=key)))
    return found


def strange(random: Random) -> bytes:
    """A request whose info, signature or algorithm is damaged; if its info is, it is signed again."""
    key, request = random.choice(seeds())
    info, signature = request.tbs_certrequest_bytes, request.signature
    algorithm = bytes.fromhex(_ALGORITHMS[1])
    match random.randrange(5):
        case 0:
            info = damaged_der(info, random, (info,))
            signature = key.sign(info, ec.ECDSA(hashes.SHA384()))
        case 1:
            signature = damaged_der(signature, random, (signature,))
        case 2:
            signature = damaged(signature, random, (signature,))
        case 3:
            algorithm = bytes.fromhex(random.choice(_ALGORITHMS))
        case _:
            body = request.public_bytes(random.choice((Encoding.DER, Encoding.PEM)))
            return damaged(body, random, (body,))
    return tlv(0x30, info, tlv(0x30, algorithm), tlv(0x03, b"\0", signature))


def test_both_engines_accept_and_refuse_the_same() -> None:
    pytest.importorskip("awscrt")
    from trivet.signing.aws_lc import AwsLcEngine  # noqa: PLC0415  of the extra `fast`
    from trivet.signing.engine import CRYPTOGRAPHY  # noqa: PLC0415

    engines = (CRYPTOGRAPHY, AwsLcEngine())
    tally: Counter[str] = Counter()
    for number in range(COUNT * TIMES):
        body = strange(generator("engines", number))
        readers = [partial(parse_certificate_request, verifier=engine.is_self_signed) for engine in engines]
        outcomes = {outcome_of(read, body) for read in readers}
        assert len(outcomes) == 1, shown("engines", number, body)
        tally[outcomes.pop()] += 1
    print(f"engines: {tally.total()} inputs, {dict(tally.most_common())}")  # noqa: T201
    assert {ACCEPTED, "badCSR"} <= set(tally)
