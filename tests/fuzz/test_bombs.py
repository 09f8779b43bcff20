"""Small inputs that ask for much: each is answered in time and with little memory."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fuzz import seeds
from tests.fuzz.tally import ACCEPTED, outcome_of
from tests.unit.pki.samples import (
    NOW,
    dn,
    private_key,
    rdn,
    request_info,
    sans,
    self_signed,
    signing_request,
    tlv,
)

from trivet.pki.csr import MAX_CSR_BYTES, parse_certificate_request
from trivet.pki.manifest import parse_renew_revocation
from trivet.pki.pem import from_pem
from trivet.pki.possession import MAX_MESSAGE_BYTES, check_fresh, parse_renewal_message
from trivet.web.rest import schemas
from trivet.web.rest.bodies import validated
from trivet.web.rest.documents import MAX_YAML_BYTES, read_document
from trivet.web.rest.negotiation import JSON, YAML

pytestmark = pytest.mark.filterwarnings("ignore:Attribute's length")

KIB = 1024
_LONGEST = 1.0  # seconds of this thread's own, for inputs of at most 64 KiB
_MOST = 96 * KIB * KIB  # bytes; the largest body has 1 MiB
# PyYAML reads some 100 kB a second, and that is why a YAML document may not be long.
_LONGEST_YAML = 3.0


def requests() -> dict[str, bytes]:
    many = [f"host-{number}.example" for number in range(1500)]
    extension = tlv(0x30, bytes.fromhex("06032a0304"), tlv(0x04, b"\x05\0"))
    asked = tlv(0x30, bytes.fromhex("06092a864886f70d01090e"), tlv(0x31, tlv(0x30, extension * 4000)))
    return {
        "many names": signing_request(None, sans(*many), key=private_key("Ed25519")).public_bytes(_DER),
        "many attributes of the subject": self_signed(request_info(rdn(0x0C, b"a") * 2500)),
        "many of them in one RDN": self_signed(request_info(tlv(0x31, *[tlv(0x30, _CN, tlv(0x0C, b"a"))] * 3000))),
        "many extensions": self_signed(request_info(b"", asked))[:MAX_CSR_BYTES],
        "a long identifier": self_signed(
            request_info(tlv(0x31, tlv(0x30, tlv(0x06, b"\x2a" + b"\xff" * 40_000 + b"\x7f"), tlv(0x0C, b"a"))))
        ),
        "a large version": self_signed(
            tlv(0x30, tlv(0x02, b"\x7f" * 40_000), *_rest_of(request_info(rdn(0x0C, b"a"))))
        ),
        "a long name": self_signed(request_info(rdn(0x0C, b"a" * 45_000))),
        "a long IDN": signing_request(None, x509.SubjectAlternativeName([
            x509.DNSName("xn--" + "a" * 40_000)]), key=private_key("Ed25519")).public_bytes(_DER),
        "a deep nest": nested(6000),
        "a deep nest of indefinite lengths": b"\x30\x80" * 20_000,
        "blanks in front of PEM": b" " * 47_000 + b"-----BEGIN",
        "blanks within PEM": b"-----BEGIN CERTIFICATE REQUEST-----" + b"\n" * 48_000,
        "a huge RSA key": rsa_request(16_384, 40),
        "a huge RSA exponent": rsa_request(3072, 3000),
        "a key of many bits": rsa_request(200_000, 3),
        "zeros": bytes(MAX_CSR_BYTES),
    }  # fmt: skip


_DER = Encoding.DER
_CN = bytes.fromhex("0603550403")


def _rest_of(info: bytes) -> tuple[bytes, ...]:
    inner = info[2:] if info[1] < 0x80 else info[2 + (info[1] & 0x7F) :]
    return (inner[3:],)  # all but the version


def nested(depth: int) -> bytes:
    value = b"\x05\0"
    for _ in range(depth):
        value = tlv(0x30, value)
        if len(value) > MAX_CSR_BYTES:
            break
    return value


def rsa_request(modulus_bits: int, exponent_bits: int) -> bytes:
    """A request with a made-up RSA key: its signature is wrong, but that takes a power to find out."""
    modulus = (1 << modulus_bits - 1) + 12_345
    numbers = tlv(0x30, integer(modulus), integer((1 << exponent_bits) - 1))
    algorithm = tlv(0x30, bytes.fromhex("06092a864886f70d010101"), b"\x05\0")
    key = tlv(0x30, algorithm, tlv(0x03, b"\0" + numbers))
    info = tlv(0x30, b"\x02\1\0", tlv(0x30, rdn(0x0C, b"a")), key, tlv(0xA0))
    signature = tlv(0x03, b"\0" + (modulus >> 1).to_bytes(modulus_bits // 8, "big"))
    return tlv(0x30, info, tlv(0x30, bytes.fromhex("06092a864886f70d01010c"), b"\x05\0"), signature)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def documents() -> dict[str, bytes]:
    laughs = (
        "a: &a ["
        + "x," * 9
        + "x]\n"
        + "".join(
            f"{name}: &{name} [{','.join(['*' + former] * 9)}]\n"
            for former, name in zip("abcdefgh", "bcdefghi", strict=True)
        )
    )
    return {
        "aliases": laughs.encode(),
        "an alias of itself": b"&a [*a]",
        "merged keys": b"a: &a {b: c}\nd:\n  <<: *a\n",
        "a deep nest of lists": b"[" * 60_000,
        "a deep nest of mappings": b"{a: " * 15_000,
        "a deep nest of blocks": b"- " * 30_000,
        "a deep nest of keys": b"? " * 30_000,
        "many keys": b"\n".join(b"k%d: v" % number for number in range(6000)),
        "many tags": b"- !!int 1\n" * 6000,
        "many anchors": b"".join(b"- &a%d x\n" % number for number in range(6000)),
        "many documents": b"--- a\n" * 9000,
        "many comments": b"# a\n" * 16_000,
        "a long scalar": b"a" * 64_000,
        "a long quoted scalar": b'"' + b"\\x41" * 16_000 + b'"',
        "a long key": b"a" * 64_000 + b": b",
        "many line breaks": b"a: |\n" + b"\n" * 60_000,
        "many brackets": b"[[]" * 20_000,
        "many colons": b":" * 64_000,
        "many quotes": b"'" * 64_000,
        "many directives": b"%TAG ! tag:a,b:\n" * 4000,
    }


def json_documents() -> dict[str, bytes]:
    return {
        "a deep nest of lists": b"[" * 500_000,
        "a deep nest of objects": b'{"a":' * 200_000,
        "a huge number": b"9" * 1_000_000,
        "a huge exponent": b"1e999999999",
        "a huge number in its place": b'{"role":"admin","expiresInSeconds":' + b"9" * 4000 + b"}",
        "many keys": json.dumps({f"k{number}": number for number in range(60_000)}).encode(),
        "the same key": b"{" + b'"a":1,' * 150_000 + b'"a":1}',
        "a long text": b'"' + b"\\u0041" * 170_000 + b'"',
        "many items": b"[" + b"0," * 500_000 + b"0]",
    }


def messages() -> dict[str, bytes]:
    header, claims = seeds.message_parts()[0]
    return {
        "a long chain": seeds.message_of(
            json.dumps({**json.loads(header), "x5c": ["A" * 80_000]}).encode(), claims
        ),
        "many certificates": seeds.message_of(json.dumps({"x5c": ["A"] * 15_000}).encode(), claims),
        "a deep header": seeds.message_of(b"[" * 60_000, claims),
        "deep claims": seeds.message_of(header, b"[" * 60_000),
        "a huge time": seeds.message_of(header, claims.replace(b'"iat":', b'"iat":' + b"9" * 4000)),
        "a time too large for a date": seeds.message_of(header, claims.replace(b'"iat":', b'"iat":9999999')),
        "a huge number": seeds.message_of(header, claims.replace(b'"iat":', b'"iat":' + b"9" * 40_000)),
        "many dots": b"." * MAX_MESSAGE_BYTES,
        "too long": b"a" * (MAX_MESSAGE_BYTES + 1),
    }


def timed(read: Callable[[bytes], object], body: bytes) -> tuple[str, float]:
    """What came of it, and the seconds of this thread that it took."""
    gc.freeze()  # what other tests left behind is not this reader's to walk over
    started = time.thread_time()
    outcome = outcome_of(read, body)
    taken = time.thread_time() - started
    gc.unfreeze()
    return outcome, taken


def check(read: Callable[[bytes], object], body: bytes, longest: float = _LONGEST) -> None:
    outcome, taken = timed(read, body)
    assert outcome != ACCEPTED
    assert taken < longest, f"{taken:.2f} s"


def read_yaml(body: bytes) -> object:
    return parse_renew_revocation(read_document(body, YAML))


def read_json(body: bytes) -> object:
    return parse_renew_revocation(read_document(body, JSON))


def read_message(body: bytes) -> None:
    check_fresh(parse_renewal_message(body), "blue", NOW)


@pytest.mark.parametrize(("name", "body"), requests().items(), ids=requests())
def test_a_request_that_asks_for_much_is_refused_in_time(name: str, body: bytes) -> None:
    del name
    check(parse_certificate_request, body)


@pytest.mark.parametrize(("name", "body"), documents().items(), ids=documents())
def test_a_yaml_document_that_asks_for_much_is_refused_in_time(name: str, body: bytes) -> None:
    del name
    assert len(body) <= 64 * KIB
    check(read_yaml, body, _LONGEST_YAML)


@pytest.mark.parametrize(("name", "body"), json_documents().items(), ids=json_documents())
def test_a_json_document_that_asks_for_much_is_refused_in_time(name: str, body: bytes) -> None:
    del name
    check(read_json, body)
    check(lambda text: validated(schemas.TokenCreate, text), body)


@pytest.mark.parametrize(("name", "body"), messages().items(), ids=messages())
def test_a_message_that_asks_for_much_is_refused_in_time(name: str, body: bytes) -> None:
    del name
    check(read_message, body)


def test_pem_that_goes_on_is_refused_in_time() -> None:
    check(from_pem, b"-----BEGIN CERTIFICATE-----" + b"\nA" * 30_000)
    check(from_pem, (b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n" * 900) + b"x")


def test_a_longer_yaml_document_is_not_even_read() -> None:
    check(lambda text: read_document(text, YAML), b"#" * (MAX_YAML_BYTES + 1), longest=0.05)


def test_what_is_read_over_takes_no_time_either() -> None:
    attribute = tlv(0x30, bytes.fromhex("06032a0304"), tlv(0x31, b"\x05\0"))
    many_attributes = self_signed(request_info(b"", attribute * 3000))
    many_groups = signing_request(dn("jane", ["o"] * 400), key=private_key("Ed25519")).public_bytes(_DER)
    for body in (many_attributes, many_groups):
        outcome, taken = timed(parse_certificate_request, body)
        assert (outcome, taken < _LONGEST) == (ACCEPTED, True)


def test_all_of_them_together_take_little_memory() -> None:
    program = "import tests.fuzz.test_bombs as bombs; print(bombs.growth())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=seeds.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < _MOST, f"{done.stdout} bytes"


def growth() -> int:
    """By how many bytes the memory of this process grows at most while it reads them all."""
    inputs: list[tuple[Callable[[bytes], object], bytes]] = []
    inputs += [(parse_certificate_request, body) for body in requests().values()]
    inputs += [(read_yaml, body) for body in documents().values()]
    inputs += [(read_json, body) for body in json_documents().values()]
    inputs += [(read_message, body) for body in messages().values()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read, body in inputs:
        outcome_of(read, body)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * KIB
