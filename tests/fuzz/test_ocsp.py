"""Damaged OCSP requests: each gets an OCSP response that can be read, over HTTP always with the status 200."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from tests.fuzz.mutate import damaged, damaged_der
from tests.fuzz.tally import damaged_inputs, generator, run, shown
from tests.support.clock import Clock
from tests.support.ocsp_requests import cert_id, extension, nonce, request
from tests.support.ocsp_world import OcspWorld
from tests.support.world import World, make_authority, prepare_database
from tests.unit.pki.samples import tlv
from tests.unit.web.service import service_over

from trivet.authority.status.replies import Question
from trivet.pki.ocsp import MAX_CERTIFICATES, StatusRequest, parse_status_request

pytestmark = pytest.mark.slow

COUNTS = {"ocsp requests": 20_000, "ocsp answers": 2_000, "ocsp over http": 1_000}
_BATCH = 16


@pytest.fixture
def blue(tmp_path: Path) -> Iterator[OcspWorld]:
    clock = Clock()
    url = f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    yield OcspWorld(world)
    world.authority.database.dispose()


def seeds(issuer: x509.Certificate, serial: int) -> tuple[bytes, ...]:
    """Requests of every form."""
    own = cert_id(issuer, serial)
    signature = tlv(
        0xA0, tlv(0x30, tlv(0x30, bytes.fromhex("06082a8648ce3d040303")), tlv(3, b"\0" + bytes(70)))
    )
    return (
        request([own]),
        request([cert_id(issuer, serial, hashes.SHA256())]),
        request([own], nonce(b"n" * 32)),
        request([own], nonce(b"n" * 32), extension("2a0304", b"\x05\0", critical=True)),
        request([own, cert_id(issuer, 7), cert_id(issuer, 2**159)]),
        request([cert_id(issuer, number) for number in range(9)]),
        request([own], before=tlv(0xA1, tlv(0xA4, issuer.subject.public_bytes())), after=signature),
    )


def strange(random: Random, real: tuple[bytes, ...]) -> bytes:
    change = damaged_der if random.random() < 0.6 else damaged
    return change(random.choice(real), random, real)


def read(body: bytes) -> StatusRequest:
    """Read a request; what was read is in it."""
    found = parse_status_request(body)
    assert 1 <= len(found.certificates) <= MAX_CERTIFICATES
    for one in found.certificates:
        assert one.der in body
        assert 0 <= one.serial < 1 << 160
    assert found.nonce is None or (1 <= len(found.nonce) <= 128 and found.nonce in body)
    return found


def test_a_damaged_request_is_read_or_refused(blue: OcspWorld) -> None:
    real = seeds(blue.issuer, 12345)
    tally = run("ocsp requests", COUNTS["ocsp requests"], partial(strange, real=real), read)
    assert tally["accepted"] > 500
    assert set(tally) == {"accepted", "malformed"}
    assert tally.total() >= 20_000


def test_a_damaged_request_gets_an_answer_that_can_be_read(blue: OcspWorld) -> None:
    serial = int(blue.world.issue().stored.serial, 16)
    real = seeds(blue.issuer, serial)
    inputs = list(damaged_inputs("ocsp answers", COUNTS["ocsp answers"], partial(strange, real=real)))
    tally: Counter[str] = Counter()
    for start in range(0, len(inputs), _BATCH):
        some = inputs[start : start + _BATCH]
        replies = blue.desk.answer([Question(blue.place, body) for _, body in some])
        for (number, body), reply in zip(some, replies, strict=True):
            tally[reply.result] += 1
            try:
                assert reply.result not in {"internalError", "tryLater"}
                ocsp.load_der_ocsp_response(reply.body)
            except Exception as error:
                error.add_note(shown("ocsp answers", number, body))
                raise
    assert {"good", "unknown", "several", "malformedRequest", "unauthorized"} == set(tally)


def test_over_http_a_damaged_request_gets_an_answer_that_can_be_read(blue: OcspWorld) -> None:
    serial = int(blue.world.issue().stored.serial, 16)
    real = seeds(blue.issuer, serial)
    place = blue.place
    url = f"/pki/{place.cluster}/{place.authority}/{place.key_identifier}/ocsp"
    with service_over(blue.world) as service:
        for number, body in damaged_inputs(
            "ocsp over http", COUNTS["ocsp over http"], partial(strange, real=real)
        ):
            if number % 3:
                answer = service.client.post(url, content=body)
            else:
                text = base64.b64encode(body).decode()
                text = (
                    text
                    if number % 2
                    else damaged(text.encode(), generator(url, number), (b"%2F",)).decode("latin-1")
                )
                answer = service.client.get(f"{url}/{quote(text, safe='')}")
            assert answer.status_code == 200, shown("ocsp over http", number, body)
            ocsp.load_der_ocsp_response(answer.content)
