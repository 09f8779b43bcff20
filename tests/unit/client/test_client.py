from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from trivet.client import Client, Endpoint, LocalError, ProblemError, UnreachableError
from trivet.client.connection import Connection
from trivet.client.keys import build_request, key_pem, new_key
from trivet.pki.csr import parse_certificate_request
from trivet.pki.keys import KeyAlgorithm

HERE = "http://127.0.0.1:1"
TOKEN = "trivet_" + "x" * 43
PROBLEM = {"Content-Type": "application/problem+json"}
Handler = Callable[[httpx.Request], httpx.Response]


def client(*answers: httpx.Response | Handler) -> tuple[Client, list[httpx.Request]]:
    """A client whose requests get these answers, one after the other, and are noted."""
    seen: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        following = left.pop(0)
        return following if isinstance(following, httpx.Response) else following(request)

    return Client(Endpoint(HERE, token=TOKEN), transport=httpx.MockTransport(answer)), seen


def problem(
    status: int, slug: str, headers: dict[str, str] | None = None, **members: object
) -> httpx.Response:
    body = {"type": f"urn:trivet:problem:{slug}", "title": slug, "status": status, "detail": "why", **members}
    return httpx.Response(status, headers=PROBLEM | (headers or {}), content=json.dumps(body))


def test_a_refusal_becomes_an_error_with_all_that_the_service_said() -> None:
    trivet, _ = client(
        problem(
            422,
            "badRevocation",
            errors=[{"pointer": "/spec/revocations/1/ip", "detail": "must be an address"}],
            decision="d-1",
            requestId="r-1",
        )
    )
    with pytest.raises(ProblemError) as caught:
        trivet.revocations.create("demo", b"{}")
    error = caught.value
    assert (error.slug, error.status, error.detail) == ("badRevocation", 422, "why")
    assert [(fault.pointer, fault.detail) for fault in error.faults] == [
        ("/spec/revocations/1/ip", "must be an address")
    ]
    assert (error.decision, error.request_id, error.retry_after) == ("d-1", "r-1", None)
    assert str(error) == "why"


def test_an_error_from_something_in_between_is_a_problem_too() -> None:
    trivet, _ = client(httpx.Response(502, text="<h1>Bad gateway</h1>"))
    with pytest.raises(ProblemError, match="Bad Gateway: <h1>"):
        trivet.clusters.get("demo")


def test_an_answer_that_is_not_json_says_that_the_url_may_be_wrong() -> None:
    trivet, _ = client(httpx.Response(200, text="<h1>Welcome</h1>"))
    with pytest.raises(UnreachableError, match="is the url right"):
        trivet.clusters.get("demo")


@pytest.mark.parametrize("status", [429, 503])
def test_what_should_be_tried_later_is_tried_again_with_the_same_idempotency_key(status: int) -> None:
    waits: list[float] = []
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) < 3:
            return problem(status, "unavailable", {"Retry-After": str(len(seen))})
        return httpx.Response(200, json={})

    connection = Connection(Endpoint(HERE), transport=httpx.MockTransport(answer), sleep=waits.append)
    connection.send("POST", "clusters", json={"name": "demo"})
    assert waits == [1.0, 2.0]
    keys = {request.headers["Idempotency-Key"] for request in seen}
    assert len(keys) == 1
    assert {request.content for request in seen} == {b'{"name":"demo"}'}


def test_patience_ends() -> None:
    waits: list[float] = []
    transport = httpx.MockTransport(lambda _: problem(503, "unavailable", {"Retry-After": "4"}))
    connection = Connection(Endpoint(HERE, patience=10), transport=transport, sleep=waits.append)
    with pytest.raises(ProblemError) as caught:
        connection.send("GET", "clusters")
    assert waits == [4.0, 4.0]
    assert caught.value.retry_after == 4.0


def test_a_refusal_for_good_is_not_tried_again() -> None:
    trivet, seen = client(problem(403, "revoked"))
    with pytest.raises(ProblemError):
        trivet.clusters.list().__next__()
    assert len(seen) == 1


def test_two_posts_have_different_idempotency_keys_and_a_get_has_none() -> None:
    trivet, seen = client(*(httpx.Response(200, json={}) for _ in range(3)))
    trivet.tokens.create("issuer")
    trivet.tokens.create("issuer")
    trivet.tokens.get("1")
    assert seen[0].headers["Idempotency-Key"] != seen[1].headers["Idempotency-Key"]
    assert "Idempotency-Key" not in seen[2].headers


@given(sizes=st.lists(st.integers(0, 5), max_size=5), limit=st.none() | st.integers(1, 30))
def test_a_list_gives_every_item_of_every_page_once_up_to_the_limit(
    sizes: list[int], limit: int | None
) -> None:
    items = [{"name": str(number)} for number in range(sum(sizes))]
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        asked.append(query)
        page = int(query.get("cursor", "0"))
        start = sum(sizes[:page])
        end = start + (sizes[page] if page < len(sizes) else 0)
        following = str(page + 1) if page + 1 < len(sizes) else None
        return httpx.Response(200, json={"items": items[start:end], "next": following})

    trivet = Client(Endpoint(HERE), transport=httpx.MockTransport(answer))
    assert list(trivet.clusters.list(limit)) == items[:limit]
    assert "cursor" not in asked[0]


def test_filters_that_are_not_given_are_not_sent() -> None:
    trivet, seen = client(httpx.Response(200, json={"items": [], "next": None}))
    assert list(trivet.certificates.list("demo", cn="a b", dns=None)) == []
    assert seen[0].url.path == "/api/v1/clusters/demo/certificates"
    assert dict(seen[0].url.params) == {"cn": "a b", "limit": "200"}


def test_names_cannot_leave_their_place_in_the_path() -> None:
    trivet, seen = client(httpx.Response(200, json={}))
    trivet.clusters.get("a/b?c#d")
    assert seen[0].url.raw_path == b"/api/v1/clusters/a%2Fb%3Fc%23d"


def test_a_csr_travels_as_pkcs10_and_json_comes_back() -> None:
    trivet, seen = client(httpx.Response(201, json={"serialNumber": "1"}))
    issued: Any = trivet.certificates.issue(
        "demo", "kubelet-client", b"csr", node="n", expiration_seconds=600
    )
    assert issued["serialNumber"] == "1"
    request = seen[0]
    assert request.headers["Content-Type"] == "application/pkcs10"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert dict(request.url.params) == {"profile": "kubelet-client", "node": "n", "expirationSeconds": "600"}


def test_warnings_of_a_revocation_are_read_from_every_header() -> None:
    headers = [
        ("Warning", '299 - "one, with a comma", 299 trivet "two \\"quoted\\""'),
        ("Warning", '299 - "three"'),
        ("ETag", '"7"'),
    ]
    trivet, _ = client(httpx.Response(201, headers=headers, json={"metadata": {"name": "r"}}))
    stored = trivet.revocations.create(None, b"{}")
    assert stored.warnings == ("one, with a comma", 'two "quoted"', "three")
    assert stored.etag == '"7"'


def test_all_clusters_have_a_path_of_their_own() -> None:
    trivet, seen = client(httpx.Response(204), httpx.Response(204))
    trivet.revocations.delete(None, "kube-system", "r", etag='"1"')
    trivet.revocations.delete("demo", "kube-system", "r")
    assert seen[0].url.path == "/api/v1/renew-revocations/kube-system/r"
    assert seen[0].headers["If-Match"] == '"1"'
    assert seen[1].url.path == "/api/v1/clusters/demo/renew-revocations/kube-system/r"


def test_a_token_is_never_sent_in_clear_to_another_machine() -> None:
    with pytest.raises(LocalError, match="not sent in clear"):
        Client(Endpoint("http://ca.example:8443", token=TOKEN))
    Client(Endpoint("http://localhost:8443", token=TOKEN))


def test_a_token_with_a_line_break_cannot_forge_a_header() -> None:
    with pytest.raises(LocalError, match="characters that no token has"):
        Client(Endpoint(HERE, token="x\r\nX-Evil: 1"))


def test_secrets_show_in_no_repr() -> None:
    assert TOKEN not in repr(Endpoint(HERE, token=TOKEN))


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    missing = tmp_path / "missing"
    for endpoint, name in (
        (Endpoint("https://h", ca_file=missing), "missing cannot be used: No such file"),
        (Endpoint("https://h", ca_file=junk), "junk.pem cannot be used: it is not PEM"),
        (Endpoint("https://h", certificate_file=junk, key_file=junk), "junk.pem with .*cannot be used"),
    ):
        with pytest.raises(LocalError, match=name):
            Client(endpoint)


def test_no_answer_is_told_in_plain_words() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno 111] Connection refused", request=request)

    def stall(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    def distrust(request: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError("")
        cause.verify_message = "self-signed certificate"
        raise httpx.ConnectError("…", request=request) from cause

    for handler, words in (
        (refuse, "cannot be reached: .*Connection refused; does `trivet serve` run there"),
        (stall, "did not answer within 30 s"),
        (distrust, "is not trusted by .*: self-signed certificate"),
    ):
        trivet, _ = client(handler)
        with pytest.raises(UnreachableError, match=words):
            trivet.clusters.get("demo")


@pytest.mark.parametrize("algorithm", [kind for kind in KeyAlgorithm if kind is not KeyAlgorithm.RSA])
def test_a_request_says_what_it_was_told_to_say_and_the_service_reads_it(algorithm: KeyAlgorithm) -> None:
    key = new_key(algorithm)
    hosts = ["Node-1.Example.org", "192.0.2.1", "2001:db8::1", "*.example.org"]
    request = parse_certificate_request(
        build_request(key, common_name="system:node:n", organizations=["system:nodes"], hosts=hosts)
    )
    assert (request.common_name, request.organizations) == ("system:node:n", ("system:nodes",))
    assert request.dns_names == ("node-1.example.org", "*.example.org")
    assert [str(address) for address in request.ip_addresses] == ["192.0.2.1", "2001:db8::1"]


def test_a_request_may_leave_all_to_the_profile() -> None:
    request = parse_certificate_request(build_request(new_key(KeyAlgorithm.P256)))
    assert (request.common_name, request.organizations, request.dns_names) == ("", (), ())


def test_the_digest_is_about_as_strong_as_the_curve() -> None:
    digests = {
        kind: x509.load_der_x509_csr(build_request(new_key(kind))).signature_hash_algorithm
        for kind in (KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.P521)
    }
    assert [digest.name for digest in digests.values() if digest] == ["sha256", "sha384", "sha512"]


def test_rsa_keys_have_4096_bits_and_keys_are_written_as_pkcs8() -> None:
    key = new_key(KeyAlgorithm.RSA)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 4096
    assert key_pem(ec.generate_private_key(ec.SECP256R1())).startswith(b"-----BEGIN PRIVATE KEY-----\n")


def test_a_host_that_is_none_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="not a name"):
        build_request(new_key(KeyAlgorithm.P256), hosts=["not a name"])
