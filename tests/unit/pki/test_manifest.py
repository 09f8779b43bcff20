from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.pki.errors import BadRevocationError
from trivet.pki.manifest import (
    MAX_ENTRIES,
    MAX_TEXT,
    RenewRevocation,
    parse_renew_revocation,
    render_entry,
)
from trivet.pki.revocation import Entry, EntryKind

SAMPLE = Path(__file__).parents[2] / "vectors" / "renew-revocation.yaml"
SERIAL = "77fdf4b1033b387aaace6ce1c18710c2"


def sample() -> dict[str, Any]:
    document = yaml.load(SAMPLE.read_text(), Loader=yaml.BaseLoader)  # noqa: S506  it makes text of all scalars
    assert isinstance(document, dict)
    return document


def manifest(*entries: object, **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": "a", **metadata},
        "spec": {"revocations": list(entries) or [{"kind": "Group", "group": "g"}]},
    }


def faults(document: object) -> dict[str, str]:
    with pytest.raises(BadRevocationError) as refusal:
        parse_renew_revocation(document)
    pointers = [fault.pointer for fault in refusal.value.faults]
    assert len(set(pointers)) == len(pointers), "one place is told once"
    assert f"{len(pointers)} fault" in refusal.value.detail
    return {fault.pointer: fault.message for fault in refusal.value.faults}


def test_the_sample_manifest_has_five_entries() -> None:
    revocation = parse_renew_revocation(sample())
    assert revocation == RenewRevocation(
        "my-renew-revocation",
        "kube-system",
        "My list of renew revocations",
        (
            Entry(
                EntryKind.SERIAL_NUMBER,
                SERIAL,
                datetime(2020, 4, 17, 17, 22, 5, tzinfo=UTC),
                "Revoked certificates by serial number",
            ),
            Entry(EntryKind.GROUP, "system:nodes", description="Revoked certificates by group"),
            Entry(EntryKind.DNS, "kubernetes.default.svc", description="Revoked certificates by DNS"),
            Entry(EntryKind.DNS, ".cluster.local", description="Revoked certificates by DNS Suffix"),
            Entry(EntryKind.IP, "170.63.128.124", description="Revoked certificates by IP"),
        ),
    )


@pytest.mark.parametrize("spelling", ["SerialNumber", "serialnumber", "SERIALNUMBER", "sErIaLnUmBeR"])
def test_the_kind_of_an_entry_may_have_any_letter_case(spelling: str) -> None:
    (entry,) = parse_renew_revocation(manifest({"kind": spelling, "serialNumber": SERIAL})).entries
    assert entry == Entry(EntryKind.SERIAL_NUMBER, SERIAL)


def test_what_a_server_adds_to_an_object_is_accepted_and_ignored() -> None:
    extra = {
        "uid": "1",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": None,
        "managedFields": [],
        "labels": {"app.kubernetes.io/name": "x"},
    }
    document = {**manifest(**extra), "status": {"live": 3}}
    assert parse_renew_revocation(document) == RenewRevocation(
        "a", entries=(Entry(EntryKind.GROUP, "g"),), labels={"app.kubernetes.io/name": "x"}
    )


def test_a_member_that_is_null_counts_as_absent() -> None:
    entry = {"kind": "Group", "group": "g", "dns": None, "notBefore": None, "description": None}
    document = manifest(entry, namespace=None, labels=None, annotations=None)
    document["spec"]["description"] = None
    assert parse_renew_revocation(document) == parse_renew_revocation(manifest())


def test_the_annotation_that_kubectl_apply_adds_may_be_long_and_end_with_a_line_break() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{" + " " * 5000 + "}\n"}
    assert parse_renew_revocation(manifest(annotations=applied)).annotations == applied


def test_the_order_of_entries_is_kept() -> None:
    groups = [f"g{number}" for number in range(MAX_ENTRIES)]
    document = manifest(*({"kind": "group", "group": group} for group in groups))
    assert [entry.value for entry in parse_renew_revocation(document).entries] == groups


@pytest.mark.parametrize(
    ("path", "value", "pointer", "words"),
    [
        (("apiVersion",), "v1", "/apiVersion", "certificates.microsoft.com/v1"),
        (("apiVersion",), None, "/apiVersion", "certificates.microsoft.com/v1"),
        (("kind",), "renewrevocation", "/kind", "RenewRevocation"),
        (("kind",), {}, "/kind", "RenewRevocation"),
        (("extra",), 1, "/extra", "unknown field; known are apiVersion"),
        (("a/b~c",), 1, "/a~1b~0c", "unknown field"),
        (("\ud800",), 1, "/?", "unknown field"),
        (("metadata",), None, "/metadata", "an object"),
        (("metadata",), "x", "/metadata", "an object"),
        (("metadata", "name"), None, "/metadata/name", "required"),
        (("metadata", "name"), 7, "/metadata/name", "quote"),
        (("metadata", "name"), "", "/metadata/name", "RFC 1123"),
        (("metadata", "name"), "A_b", "/metadata/name", "RFC 1123"),
        (("metadata", "namespace"), "a.b", "/metadata/namespace", "RFC 1123"),
        (("metadata", "finalizer"), [], "/metadata/finalizer", "unknown field"),
        (("metadata", "labels"), [], "/metadata/labels", "strings"),
        (("metadata", "labels"), {"a/b": 1}, "/metadata/labels/a~1b", "string"),
        (("metadata", "labels"), {"a\0": "b"}, "/metadata/labels/a\0", "control"),
        (("metadata", "annotations"), {"a": "\x1b"}, "/metadata/annotations/a", "control"),
        (
            ("metadata", "annotations"),
            {"a": "b" * 200_000, "c": "d" * 99_999},
            "/metadata/annotations",
            "in all",
        ),
        (("spec",), [], "/spec", "an object"),
        (("spec", "entries"), [], "/spec/entries", "unknown field"),
        (("spec", "description"), 5, "/spec/description", "quote"),
        (("spec", "description"), "x" * (MAX_TEXT + 1), "/spec/description", "at most 1024"),
        (("spec", "description"), "\ud800", "/spec/description", "control"),
        (("spec", "revocations"), None, "/spec/revocations", "at least one"),
        (("spec", "revocations"), [], "/spec/revocations", "at least one"),
        (("spec", "revocations"), "x", "/spec/revocations", "at least one"),
        (("spec", "revocations"), [{}] * (MAX_ENTRIES + 1), "/spec/revocations", "at most 1000"),
        (("spec", "revocations"), ["x"], "/spec/revocations/0", "an object"),
    ],
)
def test_a_wrong_field_of_the_object_is_pointed_at(
    path: tuple[str, ...], value: object, pointer: str, words: str
) -> None:
    document = copy.deepcopy(manifest())
    place: dict[str, Any] = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    found = faults(document)
    assert list(found) == [pointer]
    assert words in found[pointer]


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_not_an_object_is_refused(document: object) -> None:
    assert list(faults(document)) == [""]


@pytest.mark.parametrize(
    ("entry", "field", "words"),
    [
        ({}, "kind", "required"),
        ({"kind": 1}, "kind", "string"),
        ({"kind": "Subject"}, "kind", "SerialNumber, Group, DNS, IP, CommonName, PublicKey"),
        ({"kind": "group"}, "group", "required"),
        ({"kind": "group", "group": ""}, "group", "1 to 256 characters"),
        ({"kind": "group", "group": "g" * 257}, "group", "1 to 256 characters"),
        ({"kind": "group", "group": "a\nb"}, "group", "control"),
        ({"kind": "group", "group": "a\0b"}, "group", "control"),
        ({"kind": "group", "group": ["a"]}, "group", "string"),
        ({"kind": "group", "group": "a", "dns": "b.c"}, "dns", "has one value, in group"),
        ({"kind": "commonname", "commonName": "\u2028"}, "commonName", "control"),
        ({"kind": "serialnumber", "serialNumber": 77}, "serialNumber", "quote"),
        ({"kind": "serialnumber", "serialNumber": "xyz"}, "serialNumber", "hexadecimal"),
        ({"kind": "serialnumber", "serialNumber": "0"}, "serialNumber", "greater than zero"),
        ({"kind": "serialnumber", "serialNumber": "1" * 41}, "serialNumber", "20 octets"),
        ({"kind": "dns", "dns": "a b"}, "dns", "not a DNS name"),
        ({"kind": "dns", "dns": "."}, "dns", "not a DNS name"),
        ({"kind": "dns", "dns": "..a.b"}, "dns", "not a DNS name"),
        ({"kind": "dns", "dns": "10.0.0.1"}, "dns", "last label is a number"),
        ({"kind": "dns", "dns": "*.a.b"}, "dns", "write a suffix ('.a.b')"),
        ({"kind": "dns", "dns": ".*.a.b"}, "dns", "not a DNS name"),
        ({"kind": "ip", "ip": "300.1.1.1"}, "ip", "300.1.1.1"),
        ({"kind": "ip", "ip": "10.0.0.1/8"}, "ip", "host bits"),
        ({"kind": "ip", "ip": "10.0.0.1/33"}, "ip", "10.0.0.1/33"),
        ({"kind": "ip", "ip": "fe80::1%eth0"}, "ip", "zone"),
        ({"kind": "ip", "ip": "node.example"}, "ip", "node.example"),
        ({"kind": "publickey", "publicKey": "0c" * 31}, "publicKey", "64 hexadecimal digits"),
        ({"kind": "publickey", "publicKey": "0g" * 32}, "publicKey", "64 hexadecimal digits"),
        ({"kind": "group", "group": "a", "notBefore": ""}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": 5}, "notBefore", "string"),
        ({"kind": "group", "group": "a", "notBefore": "2026-04-17"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "2026-04-17T17:22:05"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "2026-02-30T17:22:05Z"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "2026-04-17T17:22:60Z"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "0001-01-01T00:00:00+01:00"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "2026-04-17T17:22:05+25:00"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "notBefore": "٢٠٢٦-04-17T17:22:05Z"}, "notBefore", "RFC 3339"),
        ({"kind": "group", "group": "a", "includeRenewed": True}, "includeRenewed", "SerialNumber only"),
        (
            {"kind": "serialnumber", "serialNumber": "1", "includeRenewed": 1},
            "includeRenewed",
            "true or false",
        ),
        ({"kind": "serialnumber", "serialNumber": "1", "includeRenewed": "no"}, "includeRenewed", "true or"),
        ({"kind": "group", "group": "a", "description": 5}, "description", "string"),
        ({"kind": "group", "group": "a", "reason": "x"}, "reason", "unknown field"),
    ],
)
def test_a_wrong_field_of_an_entry_is_pointed_at(entry: Mapping[str, object], field: str, words: str) -> None:
    found = faults(manifest({"kind": "ip", "ip": "192.0.2.1"}, entry))
    assert list(found) == [f"/spec/revocations/1/{field}"]
    assert words in found[f"/spec/revocations/1/{field}"]


def test_all_faults_are_told_in_one_go() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "A", "namespace": 1, "color": "red"},
        "spec": {
            "description": [],
            "revocations": [
                {"kind": "Nonsense", "serialNumber": "zz", "notBefore": "now", "description": 1},
                {"kind": "Group", "group": "fine"},
                {"kind": "DNS", "dns": "a_b", "ip": "x", "includeRenewed": "true", "notBefore": "now"},
                7,
                {"kind": "IP", "surplus": 1},
            ],
        },
    }
    assert sorted(faults(document)) == sorted(
        [
            "/apiVersion",
            "/kind",
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/color",
            "/spec/description",
        ]
        + [f"/spec/revocations/0/{field}" for field in ("kind", "serialNumber", "notBefore", "description")]
        + [f"/spec/revocations/2/{field}" for field in ("dns", "ip", "includeRenewed", "notBefore")]
        + ["/spec/revocations/3", "/spec/revocations/4/ip", "/spec/revocations/4/surplus"]
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-17T17:22:05Z", datetime(2026, 4, 17, 17, 22, 5, tzinfo=UTC)),
        ("2026-04-17t17:22:05z", datetime(2026, 4, 17, 17, 22, 5, tzinfo=UTC)),
        ("2026-04-17T19:22:05.5+02:00", datetime(2026, 4, 17, 17, 22, 5, 500_000, tzinfo=UTC)),
        ("2026-04-17T17:22:05.123456789Z", datetime(2026, 4, 17, 17, 22, 5, 123_456, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_with_its_offset(text: str, moment: datetime) -> None:
    (entry,) = parse_renew_revocation(manifest({"kind": "group", "group": "g", "notBefore": text})).entries
    assert entry.not_before == moment
    assert entry.not_before.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "meant"), [(True, True), ("TRUE", True), (False, False), ("false", False)]
)
def test_the_lineage_of_a_serial_can_be_left_out(written: object, meant: bool) -> None:  # noqa: FBT001
    entry = {"kind": "serialnumber", "serialNumber": "1", "includeRenewed": written}
    assert parse_renew_revocation(manifest(entry)).entries[0].include_renewed is meant


def test_an_entry_is_rendered_in_canonical_spelling() -> None:
    written = {
        "kind": "serialnumber",
        "serialNumber": "00:AB",
        "notBefore": "2026-04-17T19:22:05+02:00",
        "includeRenewed": "false",
    }
    (entry,) = parse_renew_revocation(manifest(written)).entries
    assert render_entry(entry) == {
        "kind": "SerialNumber",
        "serialNumber": "ab",
        "notBefore": "2026-04-17T17:22:05Z",
        "includeRenewed": False,
    }
