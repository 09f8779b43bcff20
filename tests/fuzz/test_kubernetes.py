"""Damaged inputs at the readers of the Kubernetes API, and some of them at the whole application."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from tests.fuzz.mutate import damaged, damaged_text, damaged_value
from tests.fuzz.tally import ACCEPTED, TIMES, generator, run, shown
from tests.support.clock import Clock
from tests.support.world import World, make_authority, prepare_database
from tests.unit.web.kubernetes.test_protobuf import field, unknown
from tests.unit.web.kubernetes.test_signing_requests import CSRS, JANE, KUBELET, decision, node_csr, request
from tests.unit.web.service import Service, pem, service_over

from trivet.pki.errors import Refusal
from trivet.pki.managed_fields import read_shares
from trivet.web.app import WebOptions
from trivet.web.kubernetes import signing_requests
from trivet.web.kubernetes.approval import refuse_status
from trivet.web.kubernetes.bodies import read_json
from trivet.web.kubernetes.documents import check_document, resource_version_of
from trivet.web.kubernetes.listing import read_token
from trivet.web.kubernetes.messages import MESSAGES
from trivet.web.kubernetes.options import Options
from trivet.web.kubernetes.patches import json_patch, merge_patch, strategic_merge_patch
from trivet.web.kubernetes.protobuf import ProtobufError, read_message, read_unknown
from trivet.web.kubernetes.resources import CERTIFICATE_SIGNING_REQUEST
from trivet.web.kubernetes.selectors import field_selector, label_selector, selects
from trivet.web.kubernetes.signing_request_reader import read
from trivet.web.kubernetes.status import StatusError, encode, failure
from trivet.web.kubernetes.target import target_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Attribute's length")]

# How many of each; together more than a hundred thousand.
COUNTS = {
    "protobuf": 45_000,
    "documents": 6_000,
    "json patches": 6_000,
    "merge patches": 8_000,
    "selectors": 30_000,
    "continue tokens": 20_000,
    "live": 1_500,
}
_MOST_BYTES = 96 * 1024 * 1024
_TARGET = target_of("POST", CSRS.removeprefix("/kubernetes/blue"), {})
_OPTIONS = Options(dry_run=False, validation="Warn", manager="", force=False, user_agent="fuzz")


def test_there_are_as_many_inputs_as_the_documentation_says() -> None:
    assert sum(COUNTS.values()) >= 100_000


class _Refused(Refusal):
    """What the front end refuses, as the tally counts refusals."""

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug  # type: ignore[misc]


def reader(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Read; a refusal is one that a client is told, and never a defect of the server."""

    def checked(body: bytes) -> object:
        try:
            return read(body)
        except StatusError as error:
            if error.code >= 500:
                raise
            raise _Refused(str(error.code), encode(failure(error, None)).decode()) from error
        except ProtobufError as error:
            raise _Refused("protobuf", str(error)) from error

    return checked


@pytest.fixture(autouse=True)
def _bounded_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure a tenth of the tests that only read: what is traced takes thrice as long."""
    if "bombs" not in request.node.name:
        yield
        return
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < _MOST_BYTES, f"{peak} bytes at once"


def messages() -> list[bytes]:
    condition = field(1, "Approved") + field(2, "Why") + field(4, field(1, 1_700_000_000)) + field(6, "True")
    labels = field(11, field(1, "a") + field(2, "b"))
    metadata = field(1, "one") + field(2, "") + field(5, "uid") + field(6, "7") + field(8, b"") + labels
    spec = field(1, pem(JANE)) + field(4, "g") + field(5, "client auth") + field(7, KUBELET) + field(8, 3600)
    status = field(1, condition) + field(2, b"certificate")
    raw = field(1, metadata) + field(2, spec) + field(3, status)
    options = field(1, (1 << 64) - 1) + field(2, field(1, "uid")) + field(5, "All")
    review = field(1, b"") + field(2, field(1, field(2, "list") + field(5, "csr")) + field(2, field(1, "/")))
    return [
        unknown("certificates.k8s.io/v1", "CertificateSigningRequest", raw),
        unknown("meta.k8s.io/v1", "DeleteOptions", options),
        unknown("authorization.k8s.io/v1", "SelfSubjectAccessReview", review),
    ]


MESSAGES_OF_CLIENTS = messages()


def read_protobuf(body: bytes) -> None:
    _, kind, raw = read_unknown(body)
    for known in MESSAGES if kind not in MESSAGES else (kind,):
        read_message(raw, MESSAGES[known])


def test_damaged_protobuf_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        body = random.choice(MESSAGES_OF_CLIENTS)
        return damaged(body, random, MESSAGES_OF_CLIENTS)

    tally = run("protobuf", COUNTS["protobuf"], make, reader(read_protobuf))
    assert {ACCEPTED, "protobuf"} == set(tally)


def documents() -> list[bytes]:
    made = request("one", node_csr(), KUBELET, expirationSeconds=3600)
    made["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}, "resourceVersion": "7"}
    made["metadata"]["managedFields"] = [
        {"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z"}
        | {"fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {".": {}, "f:request": {}}}}
    ]
    made["status"] = {"conditions": [decision(), decision("Denied")], "certificate": "YQ=="}
    return [json.dumps(made).encode()]


DOCUMENTS = documents()


def read_document(body: bytes) -> None:
    document, _ = check_document(
        read_json(body), _TARGET, CERTIFICATE_SIGNING_REQUEST, signing_requests.SCHEMA, _OPTIONS
    )
    resource_version_of(document)
    read_shares(document["metadata"].get("managedFields") or [])
    signing_requests.contents(None, document)  # type: ignore[arg-type]  # it is asked about nothing
    submission = read(_TARGET, document)
    assert submission.name
    refuse_status(_TARGET, document, _Standing())  # type: ignore[arg-type]


class _Standing:
    body = {"status": {"conditions": [decision(), decision("Denied")], "certificate": "YQ=="}}  # noqa: RUF012


def test_a_damaged_document_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        body = random.choice(DOCUMENTS)
        return damaged_value(body, random) if random.random() < 0.8 else damaged_text(body, random, DOCUMENTS)

    tally = run("documents", COUNTS["documents"], make, reader(read_document))
    assert {ACCEPTED, "400", "422"} <= set(tally)


OPERATIONS = [
    {"op": "add", "path": "/metadata/labels/x", "value": "y"},
    {"op": "test", "path": "/spec/usages/0", "value": "digital signature"},
    {"op": "replace", "path": "/metadata/annotations", "value": {}},
    {"op": "copy", "from": "/spec", "path": "/status/spec"},
    {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/b~1~0"},
    {"op": "add", "path": "/status/conditions/-", "value": decision("Denied")},
    {"op": "remove", "path": "/status/conditions/0"},
]


def test_a_damaged_json_patch_is_applied_or_refused() -> None:
    target = json.loads(DOCUMENTS[0])
    before = json.dumps(target)

    def make(random: Random) -> bytes:
        body = json.dumps(random.sample(OPERATIONS, random.randrange(1, len(OPERATIONS)))).encode()
        return body if random.random() < 0.1 else damaged_value(body, random)

    def patch(body: bytes) -> None:
        patched = json_patch(target, read_json(body).value)
        if isinstance(patched, dict):
            read_document(json.dumps(patched).encode())

    tally = run("json patches", COUNTS["json patches"], make, reader(patch))
    assert {ACCEPTED, "400", "422"} <= set(tally)
    assert json.dumps(target) == before, "the target of a patch was changed"


def test_a_damaged_merge_patch_is_applied_or_refused() -> None:
    target = json.loads(DOCUMENTS[0])
    before = json.dumps(target)
    directives = {"$patch": "replace", "$retainKeys": ["labels"], "$setElementOrder/conditions": []}
    change = {"metadata": {"labels": {"a": None, "x": "y"}} | directives, "status": {"conditions": None}}

    def make(random: Random) -> bytes:
        return damaged_value(json.dumps(change).encode(), random)

    def patch(body: bytes) -> None:
        value = read_json(body).value
        for how in (merge_patch, strategic_merge_patch):
            json.dumps(how(target, value))

    tally = run("merge patches", COUNTS["merge patches"], make, reader(patch))
    assert {ACCEPTED, "400"} <= set(tally)
    assert json.dumps(target) == before, "the target of a patch was changed"


SELECTORS = [
    b"team=blue,owner!=jane",
    b"tier in (a, b),!gone,kept",
    b"example.com/size>3,n<5,x notin ()",
    b"metadata.name=one,spec.signerName!=kubernetes.io/kubelet-serving",
]


def test_a_damaged_selector_is_read_or_refused() -> None:
    def make(random: Random) -> bytes:
        body = random.choice(SELECTORS)
        return (
            damaged_text(body, random, SELECTORS)
            if random.random() < 0.7
            else damaged(body, random, SELECTORS)
        )

    def select(body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        labels = {"team": "blue", "tier": "a", "n": "9" * 400, "metadata.name": "one"}
        try:
            selects(label_selector(text), labels)
        finally:
            selects(field_selector(text, signing_requests.FIELDS), labels)

    tally = run("selectors", COUNTS["selectors"], make, reader(select))
    assert "400" in tally


def test_a_damaged_continue_token_is_read_or_refused() -> None:
    tokens = [
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=")
        for each in ([7, "", "one"], [0, "a", "b"])
    ]

    def make(random: Random) -> bytes:
        token = random.choice(tokens)
        if random.random() < 0.5:
            padded = token + b"=" * (-len(token) % 4)
            return base64.urlsafe_b64encode(damaged(base64.urlsafe_b64decode(padded), random, tokens)).rstrip(
                b"="
            )
        return damaged(token, random, tokens)

    def read_one(body: bytes) -> None:
        version, (namespace, name) = read_token(body.decode("utf-8", "replace"))
        assert 0 <= version < 1 << 62
        assert (namespace + name).isprintable()

    tally = run("continue tokens", COUNTS["continue tokens"], make, reader(read_one))
    assert {ACCEPTED, "400"} == set(tally)


def test_bombs_take_little_memory() -> None:
    deep = b"[" * 60_000
    wide = json.dumps([{"op": "copy", "from": "", "path": "/a"}] * 40).encode()
    huge = unknown("certificates.k8s.io/v1", "CertificateSigningRequest", field(1, field(11, b"") * 60_000))
    many = field(5, "any") * 60_000
    bombs: list[tuple[Callable[[bytes], object], bytes]] = [
        (read_json, deep),
        (lambda body: json_patch({"a": {}}, read_json(body).value), wide),
        (read_protobuf, huge),
        (read_protobuf, unknown("certificates.k8s.io/v1", "CertificateSigningRequest", field(2, many))),
        (lambda body: label_selector(body.decode()), b"a=b," * 20_000),
        (lambda body: label_selector(body.decode()), b"a in (" + b"b," * 8_000 + b")"),
        (lambda body: field_selector(body.decode(), ("a",)), b"a=b," * 20_000),
        (lambda body: read_token(body.decode()), b"W" * 500_000),
        (lambda body: strategic_merge_patch({}, read_json(body).value), b'{"a":' * 30 + b"1" + b"}" * 30),
    ]
    for read_bomb, body in bombs:
        try:
            reader(read_bomb)(body)
        except Refusal:
            continue


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    clock = Clock()
    url = f"sqlite:///{tmp_path / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    with service_over(world, WebOptions(rate_per_second=1e6, burst=10**6)) as service:
        yield service
    world.authority.database.dispose()


def test_the_whole_api_answers_damaged_requests_with_what_was_asked_or_a_status(service: Service) -> None:
    admin, tally = service.token(), Counter[str]()
    shapes = _shapes(service, admin)
    for number in range(COUNTS["live"] * TIMES):
        random = generator("live kubernetes", number)
        method, path, kind, body = random.choice(shapes)(random)
        headers = admin | ({"Content-Type": kind} if kind else {})
        answer = service.client.request(method, f"{CSRS}{path}", headers=headers, content=body)
        try:
            assert answer.status_code < 500
            if answer.status_code >= 400 and answer.headers["content-type"] == "application/json":
                status = answer.json()
                assert (status["kind"], status["code"]) == ("Status", answer.status_code)
        except AssertionError as error:
            error.add_note(
                shown(f"{method} {path} {kind} {answer.status_code} {answer.text[:300]}", number, body)
            )
            raise
        tally[f"{method} {answer.status_code}"] += 1
    print(f"live: {tally.total()} requests, {dict(tally.most_common())}")  # noqa: T201
    assert {
        "POST 201",
        "POST 400",
        "POST 422",
        "PATCH 200",
        "PATCH 400",
        "PATCH 422",
        "GET 200",
        "GET 400",
    } <= set(tally)


Shape = Callable[[Random], tuple[str, str, str, bytes]]


def _shapes(service: Service, admin: dict[str, str]) -> list[Shape]:
    """Damaged requests of each kind, about one request that stands."""
    service.client.post(CSRS, headers=admin, json=request("standing")).raise_for_status()
    change: dict[str, Any] = {
        "metadata": {"labels": {"a": "b"}},
        "status": {"conditions": [decision("Denied")]},
    }
    patch = json.dumps(change).encode()

    def query(random: Random, name: str, good: bytes) -> str:
        return f"?limit=2&{name}={quote_from_bytes(damaged(good, random, SELECTORS))}"

    def create(random: Random) -> tuple[str, str, str, bytes]:
        name = f"n{random.randrange(10**9)}"
        whole = json.dumps(request(name)).encode()
        return (
            "POST",
            "",
            "application/json",
            whole if random.random() < 0.1 else damaged_value(whole, random),
        )

    def create_in_protobuf(random: Random) -> tuple[str, str, str, bytes]:
        body = damaged(MESSAGES_OF_CLIENTS[0], random, MESSAGES_OF_CLIENTS)
        return "POST", "", "application/vnd.kubernetes.protobuf", body

    def change_it(random: Random) -> tuple[str, str, str, bytes]:
        part = random.choice(("", "", "/approval", "/status"))
        kind = random.choice(("merge-patch", "strategic-merge-patch", "json-patch"))
        body = json.dumps(random.sample(OPERATIONS, 2)).encode() if kind == "json-patch" else patch
        return "PATCH", f"/standing{part}?dryRun=All", f"application/{kind}+json", damaged_value(body, random)

    def look(random: Random) -> tuple[str, str, str, bytes]:
        name = random.choice(("labelSelector", "fieldSelector", "continue", "resourceVersion"))
        return "GET", query(random, name, random.choice(SELECTORS)), "", b""

    def get(random: Random) -> tuple[str, str, str, bytes]:
        return "GET", f"/{quote_from_bytes(damaged(b'standing', random, SELECTORS), safe='')}", "", b""

    return [create, create, create_in_protobuf, change_it, look, get]
