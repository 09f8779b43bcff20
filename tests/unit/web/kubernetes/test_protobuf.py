from __future__ import annotations

from random import Random

import pytest

from trivet.web.kubernetes.messages import MESSAGES
from trivet.web.kubernetes.protobuf import MAGIC, ProtobufError, read_message, read_unknown


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    octets = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(octets)) + octets


def unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    return (
        MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")
    )


def test_a_body_of_client_go_is_read() -> None:
    attributes = field(1, "kube-system") + field(2, "list") + field(3, "g") + field(5, "renewrevocations")
    review = field(1, b"") + field(2, field(1, attributes)) + field(3, field(1, 0))
    body = unknown("authorization.k8s.io/v1", "SelfSubjectAccessReview", review)
    api_version, kind, raw = read_unknown(body)
    assert (api_version, kind) == ("authorization.k8s.io/v1", "SelfSubjectAccessReview")
    assert read_message(raw, MESSAGES[kind]) == {
        "metadata": {},
        "spec": {
            "resourceAttributes": {
                "namespace": "kube-system",
                "verb": "list",
                "group": "g",
                "resource": "renewrevocations",
            }
        },
    }


def test_maps_repeated_fields_and_numbers_are_read() -> None:
    metadata = (
        field(11, field(1, "a") + field(2, "b")) + field(11, field(1, "c")) + field(14, "f") + field(14, "g")
    )
    found = read_message(field(1, metadata), MESSAGES["SelfSubjectReview"])
    assert found == {"metadata": {"labels": {"a": "b", "c": ""}, "finalizers": ["f", "g"]}}
    options = field(1, (1 << 64) - 1) + field(5, "All") + field(2, field(1, "uid"))
    assert read_message(options, MESSAGES["DeleteOptions"]) == {
        "gracePeriodSeconds": -1,
        "dryRun": ["All"],
        "preconditions": {"uid": "uid"},
    }


def test_fields_that_are_not_known_are_skipped() -> None:
    others = (
        field(99, "x")
        + varint(98 << 3)
        + b"\x01"
        + varint(97 << 3 | 1)
        + b"8" * 8
        + varint(96 << 3 | 5)
        + b"4444"
    )
    assert read_message(others, MESSAGES["DeleteOptions"]) == {}


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x08" + b"\xff" * 11,
        b"\x0b",
        b"\x00\x01",
        field(4, 5),
        field(1, "text"),
        field(4, b"\xff"),
        b"\x0d\x00\x00",
    ],
)
def test_what_is_no_such_message_is_refused(message: bytes) -> None:
    with pytest.raises(ProtobufError):
        read_message(message, MESSAGES["DeleteOptions"])


def test_damaged_bodies_are_read_or_refused_and_nothing_else() -> None:
    random = Random(5)  # noqa: S311  the same damage each time
    good = unknown("v1", "DeleteOptions", field(1, 3) + field(2, field(1, "u")) + field(5, "All"))
    for _ in range(20_000):
        damaged = bytearray(good)
        for _ in range(random.randrange(1, 4)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        try:
            _, _, raw = read_unknown(bytes(damaged))
            read_message(raw, MESSAGES["DeleteOptions"])
        except ProtobufError:
            continue


def test_a_body_has_at_most_so_many_fields_wherever_they_are() -> None:
    table = MESSAGES["CertificateSigningRequest"]
    metadata = field(1, field(12, field(1, "a") + field(2, "b")) * 3)  # ten fields in all
    assert read_message(metadata * 2_000, table) == {"metadata": {"annotations": {"a": "b"}}}
    with pytest.raises(ProtobufError, match="more than 20000 fields"):
        read_message(metadata * 2_001, table)
