from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support.node_pairs import START

from trivet.agent.accepting import NotAsAskedError, accepted
from trivet.agent.files import KeyPair
from trivet.agent.loop import AnswerKind
from trivet.agent.service import answer_of
from trivet.client.errors import LocalError, ProblemError, UnreachableError
from trivet.web.problems import RENDERINGS

MEANINGS = {
    "expired": AnswerKind.EXPIRED,
    "stageWaits": AnswerKind.STAGE_WAITS,
    "revoked": AnswerKind.REVOKED,
    "rateLimited": AnswerKind.BUSY,
    "unavailable": AnswerKind.BUSY,
    "internal": AnswerKind.BUSY,
}


@pytest.mark.parametrize("slug", list(RENDERINGS))
def test_every_refusal_of_the_service_means_something_to_the_loop(slug: str) -> None:
    rendering = RENDERINGS[slug]
    answer = answer_of(ProblemError(slug, rendering.title, rendering.status, "because", retry_after=7.0))
    assert answer.kind is MEANINGS.get(slug, AnswerKind.REFUSED)
    assert (answer.reason, answer.told) == (f"{rendering.title}: because", 7.0)


def test_the_slugs_that_the_agent_knows_are_those_of_the_service() -> None:
    assert MEANINGS.keys() <= RENDERINGS.keys()


def test_a_proxy_that_fails_is_waited_for_and_a_silence_is_one() -> None:
    assert answer_of(ProblemError("", "Bad Gateway", 502, "x")).kind is AnswerKind.BUSY
    assert answer_of(UnreachableError("x")).kind is AnswerKind.UNREACHABLE
    assert answer_of(LocalError("no such file")).kind is AnswerKind.FILES


NOW = START + timedelta(hours=1)
KEY, OTHER_KEY, SIGNER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def made(  # what is not said is as in all others
    number: int,
    *,
    name: str = "node-1",
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
    start: datetime = START,
    is_authority: bool = False,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> KeyPair:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")]))
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=4))
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(SIGNER, hashes.SHA256())
    )
    return KeyPair((certificate,), key)


def judged(pair: KeyPair, now: datetime = NOW) -> KeyPair:
    return accepted(pair.certificates_pem.decode(), KEY, made(1), None, now)


def test_what_was_asked_for_is_accepted() -> None:
    assert judged(made(2)).certificate.serial_number == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key": OTHER_KEY}, "the key belongs to another certificate"),
        ({"name": "node-2"}, "its CN is 'node-2', not 'node-1'"),
        ({"usages": (SERVER,)}, "its extended key usages are not those"),
        ({"usages": (CLIENT, SERVER)}, "its extended key usages are not those"),
        ({"is_authority": True}, "it is the certificate of a CA"),
        ({"start": START - timedelta(days=30)}, "by this node's clock it is not in force"),
        ({"start": START + timedelta(days=30)}, "by this node's clock it is not in force"),
    ],
)
def test_what_was_not_asked_for_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(NotAsAskedError, match=words):
        judged(made(2, **changed))


def test_the_same_certificate_again_is_no_renewal() -> None:
    with pytest.raises(NotAsAskedError, match="it is the certificate that is in place"):
        judged(made(1))


@pytest.mark.parametrize("days", [-365, 365])
def test_a_clock_that_takes_neither_for_valid_has_no_say(days: int) -> None:
    assert judged(made(2), NOW + timedelta(days=days)).certificate.serial_number == 2
