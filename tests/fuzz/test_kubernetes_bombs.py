"""Small requests to the Kubernetes API that ask for much: what is read on the event loop is read at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from tests.fuzz.tally import ACCEPTED
from tests.fuzz.test_bombs import check, timed
from tests.fuzz.test_kubernetes import read_protobuf, reader
from tests.unit.pki.samples import NOW
from tests.unit.web.kubernetes.test_protobuf import field, unknown
from tests.unit.web.kubernetes.test_signing_requests import CSRS, request

from trivet.pki.errors import Fault, InvalidError
from trivet.pki.managed_fields import read_shares, render_shares
from trivet.pki.ownership import UPDATE, Manager, updated
from trivet.web.kubernetes.access_reviews import presented_in
from trivet.web.kubernetes.bodies import read_json, read_yaml
from trivet.web.kubernetes.listing import read_token
from trivet.web.kubernetes.media import accepted
from trivet.web.kubernetes.options import options_of
from trivet.web.kubernetes.patches import json_patch, merge_patch, strategic_merge_patch
from trivet.web.kubernetes.schema import SIGNING_REQUEST_SCHEMA, known_fields
from trivet.web.kubernetes.selectors import field_selector, label_selector
from trivet.web.kubernetes.signing_request_reader import read as read_request
from trivet.web.kubernetes.status import of_refusal
from trivet.web.kubernetes.target import target_of

_AT_ONCE = 0.3  # seconds of this thread, on the event loop
_OFF_THE_LOOP = 3.0
_LONGEST_YAML = 6.0  # off the event loop; PyYAML reads some 100 kB a second
_LINE = 60_000  # what a request line or a header may have

SELECTORS: dict[str, Callable[[int], str]] = {
    "blanks and a semicolon": lambda size: " " * size + ";",
    "a key and blanks": lambda size: f"a{' ' * size}+",
    "blanks around a key": lambda size: f"{' ' * (size // 2)}a{' ' * (size // 2)}+",
    "a bang and blanks": lambda size: f"!{' ' * size}!",
    "an equals sign and blanks": lambda size: f"a={' ' * size}+",
    "a set and blanks": lambda size: f"a{' ' * (size // 2)}in{' ' * (size // 2)}+",
    "a comparison and blanks": lambda size: f"a{' ' * (size // 2)}>{' ' * (size // 2)}+",
    "commas": lambda size: "," * size,
    "blanks between commas": lambda size: (" " * (size // 50) + ";,") * 50,
    "parentheses": lambda size: "(" * size,
    "commas in a parenthesis": lambda size: "a in (" + "," * size,
    "closed parentheses": lambda size: "),(" * (size // 3),
    "a long key": lambda size: "a" * size,
    "a long prefix": lambda size: "a." * (size // 2) + "/",
    "prefixes": lambda size: "a/" * (size // 2),
    "dashes": lambda size: "a" + "-" * size,
    "equals signs": lambda size: "=" * size,
    "bangs": lambda size: "!" * size,
    "a number": lambda size: "a>" + "9" * size,
}
FIELDS = ("metadata.name", "metadata.namespace")
_CSRS = target_of("POST", CSRS.removeprefix("/kubernetes/blue"), {})


@pytest.mark.parametrize("made", SELECTORS.values(), ids=SELECTORS)
def test_a_selector_that_asks_for_much_is_refused_at_once(made: Callable[[int], str]) -> None:
    for size in (2_000, 16_000):
        check_at_once(read_labels, made(size).encode())
        check_at_once(read_fields, made(size).encode())


def read_labels(text: bytes) -> object:
    return label_selector(text.decode())


def read_fields(text: bytes) -> object:
    return field_selector(text.decode(), FIELDS)


@pytest.mark.parametrize("selector", ["a=b," * 99 + "a=b", f"a in ({'b,' * 900})", " " * 2_000 + "a"])
def test_the_longest_selectors_are_read_at_once(selector: str) -> None:
    check_at_once(read_labels, selector.encode())


@pytest.mark.parametrize("text", ["W" * _LINE, "=" * _LINE, "W1tb" * 15_000, "WzEs" * 15_000, "-" * _LINE])
def test_a_continue_token_that_asks_for_much_is_refused_at_once(text: str) -> None:
    check(reader(lambda body: read_token(body.decode())), text.encode(), _AT_ONCE)


@pytest.mark.parametrize(
    "text", [";" * _LINE, "," * _LINE, "a;b=c," * 10_000, " " * _LINE, ";as=Table" * 6_000]
)
def test_an_accept_header_that_asks_for_much_is_read_at_once(text: str) -> None:
    check_at_once(lambda body: accepted(body.decode()), text.encode())


@pytest.mark.parametrize("text", ["a" * _LINE, " " * _LINE, "%00" * 20_000, "\x85" * _LINE, "/" * _LINE])
def test_options_that_ask_for_much_are_read_at_once(text: str) -> None:
    for name in ("fieldManager", "fieldValidation", "dryRun", "force"):
        query = urlencode({name: text}).encode()
        headers = [(b"user-agent", text.encode())]
        asked = Request({"type": "http", "method": "PATCH", "query_string": query, "headers": headers})
        check_at_once(partial(read_options, asked), text.encode())


def read_options(asked: Request, text: bytes) -> object:
    del text
    return options_of(asked)


@pytest.mark.parametrize("path", ["/" * _LINE, "/apis" * 12_000, "/api/v1/" + "a/" * 30_000, "/%" * 30_000])
def test_a_path_that_asks_for_much_is_read_at_once(path: str) -> None:
    check_at_once(lambda _: target_of("GET", path, {"watch": path}), path.encode())


PATCHES: dict[str, Any] = {
    "a deep path": [{"op": "add", "path": "/a" * 300_000, "value": 1}],
    "tildes": [{"op": "add", "path": "/" + "~0" * 300_000 + "~", "value": 1}],
    "many paths": [{"op": "test", "path": "/" * 80, "value": 1}] * 9_000,
    "moves of much": [
        {"op": "add", "path": "/x", "value": [[0] * 100_000]},
        *[{"op": "move", "from": "/x", "path": "/x"}] * 9_000,
    ],
    "copies of much": [
        {"op": "add", "path": "/x", "value": [0] * 100_000},
        *[{"op": "copy", "from": "/x", "path": "/y"}] * 9_000,
    ],
    "insertions": [
        {"op": "add", "path": "/x", "value": [0] * 150_000},
        *[{"op": "add", "path": "/x/0", "value": 0}] * 9_990,
    ],
    "removals": [
        {"op": "add", "path": "/x", "value": [0] * 150_000},
        *[{"op": "remove", "path": "/x/0"}] * 9_990,
    ],
    "comparisons": [
        {"op": "add", "path": "/x", "value": [0] * 300_000},
        *[{"op": "test", "path": "/x", "value": [0] * 30}] * 3_000,
    ],
}


@pytest.mark.parametrize("operations", PATCHES.values(), ids=PATCHES)
def test_a_json_patch_that_asks_for_much_is_answered_in_time(operations: Any) -> None:  # noqa: ANN401
    body = json.dumps(operations, separators=(",", ":")).encode()
    assert len(body) <= 1024 * 1024
    _, taken = timed(reader(lambda text: json_patch({"a": {}}, read_json(text).value)), body)
    assert taken < _OFF_THE_LOOP


def test_keys_to_retain_are_looked_up_in_no_list() -> None:
    names = [f"k{number}" for number in range(30_000)]
    body = json.dumps(dict.fromkeys(names, 0) | {"$retainKeys": names}).encode()
    merge = reader(lambda text: strategic_merge_patch({}, read_json(text).value))
    assert timed(merge, body)[1] < _OFF_THE_LOOP
    assert timed(reader(lambda text: merge_patch({}, read_json(text).value)), body)[1] < _OFF_THE_LOOP


def test_managed_fields_of_many_managers_are_kept_in_time() -> None:
    share = {"operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:metadata": {"f:labels": {}}}}
    body = json.dumps([share | {"manager": f"m{number}"} for number in range(9_000)]).encode()

    def keep(text: bytes) -> object:
        shares = read_shares(json.loads(text))
        return render_shares(updated(shares, {}, {"spec": {"a": 1}}, Manager("me", UPDATE, "v1"), NOW))

    outcome, taken = timed(keep, body)
    assert outcome == ACCEPTED
    assert taken < _OFF_THE_LOOP


def csr_of(metadata: bytes) -> bytes:
    return unknown("certificates.k8s.io/v1", "CertificateSigningRequest", metadata)


PROTOBUF = {
    "empty annotations": csr_of(field(1, field(12, b"") * 400_000)),
    "annotations": csr_of(field(1, field(12, field(1, "a") + field(2, "b")) * 100_000)),
    "empty labels": csr_of(field(1, field(11, b"") * 400_000)),
    "empty finalizers": csr_of(field(1, field(14, b"") * 400_000)),
    "usages": csr_of(field(2, field(5, b"") * 400_000)),
    "conditions": csr_of(field(3, field(1, b"") * 400_000)),
    "empty metadata": csr_of(field(1, b"") * 400_000),
    "metadata with annotations": csr_of(field(1, field(12, b"") * 60) * 6_000),
    "numbers that are not known": csr_of(field(99, 1) * 300_000),
    "numbers of the envelope": unknown("v1", "DeleteOptions", b"") + field(1, b"") * 400_000,
}


@pytest.mark.parametrize("body", PROTOBUF.values(), ids=PROTOBUF)
def test_protobuf_of_very_many_fields_is_refused_in_time(body: bytes) -> None:
    assert len(body) <= 1024 * 1024
    check(reader(read_protobuf), body, 0.5)


def test_a_yaml_document_is_short_enough_to_be_read_in_time() -> None:
    check(reader(read_yaml), b"#" * (256 * 1024 + 1), 0.05)
    check(reader(read_yaml), b"- a\n" * 30_000 + b"}", _LONGEST_YAML)


DOCUMENTS: dict[str, Any] = {
    "fields that are not known": {f"k{number}": 0 for number in range(60_000)},
    "deep ones": {"metadata": {f"k{number}": {"a": {}} for number in range(40_000)}},
    "many conditions": {"status": {"conditions": [{"a": 0}] * 60_000}},
    "a request": request(),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_fields_of_a_document_are_told_in_time(document: Any) -> None:  # noqa: ANN401
    body = json.dumps(document).encode()
    _, taken = timed(reader(lambda text: known_fields(read_json(text).value, SIGNING_REQUEST_SCHEMA)), body)
    assert taken < _OFF_THE_LOOP


@pytest.mark.parametrize("body", [b"[" * 900_000, b'{"a":' * 180_000, b"9" * 900_000, b" " * 900_000])
def test_a_review_that_asks_for_much_is_refused_at_once(body: bytes) -> None:
    check(reader(presented_in), body, _AT_ONCE)


def check_at_once(read: Callable[[bytes], object], body: bytes) -> None:
    """Accepted or refused, but at once."""
    _, taken = timed(reader(read), body)
    assert taken < _AT_ONCE, f"{taken:.2f} s"


def test_of_very_many_usages_no_more_is_told_than_that() -> None:
    document = request(usages=["x"] * 200_000)
    check(reader(lambda _: read_request(_CSRS, document)), b"", _AT_ONCE)
    told: list[Fault] = [Fault(f"/spec/usages/{number}", "is none") for number in range(1_000)]
    error = of_refusal(InvalidError("wrong", *told), _CSRS, "jane", document)
    assert len(error.causes) == 100
    assert len(error.message) < 10_000
