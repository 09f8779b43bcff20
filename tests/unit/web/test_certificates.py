"""Certificates over REST: issue, renew, read, search."""

from __future__ import annotations

import base64
import ssl
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.unit.web.service import JSON, PKCS10, Service, pem, pointers, slug

from trivet.authority.access import Role
from trivet.authority.issue import IssuedCertificate
from trivet.pki.possession import sign_renewal_message
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate

BLUE = "clusters/blue/certificates"
CHAIN, ALONE, DER = "application/pem-certificate-chain", "application/x-pem-file", "application/pkix-cert"


def held(service: Service, node: str = "node-1", cluster: str = "blue") -> StoredCertificate:
    return service.world.issue(node=node, cluster=cluster).stored


def message(service: Service, current: StoredCertificate, *, key: int = 0, audience: str = "blue") -> bytes:
    certificate = x509.load_der_x509_certificate(current.der)
    made = sign_renewal_message(pooled_key(key), certificate, csr(key=1), audience, service.world.clock())
    return made.encode()


def test_json_in_json_out(service: Service) -> None:
    answer = service.issue(expirationSeconds=3600)
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/{BLUE}/{made['serialNumber']}"
    assert answer.headers["cache-control"] == "no-store"
    assert made["commonName"] == "system:node:node-1"
    assert made["organizations"] == ["system:nodes"]
    assert (made["status"], made["profile"], made["node"]) == ("valid", "kubelet-client", "node-1")
    assert made["notAfter"].endswith("Z")
    leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(made["issuer"].encode()))
    assert leaf.not_valid_after_utc - service.world.clock() <= timedelta(hours=1)
    read = service.ask("GET", answer.headers["location"], 200)
    assert read.json() == made


@pytest.mark.parametrize("body", [csr(), pem(csr()).encode()], ids=["DER", "PEM"])
def test_a_bare_csr_gives_a_chain(service: Service, body: bytes) -> None:
    answer = service.ask("POST", BLUE, 201, headers=PKCS10, content=body, params={
        "profile": "kubelet-client", "node": "node-1", "expirationSeconds": "3600",
    })  # fmt: skip
    assert answer.headers["content-type"] == CHAIN
    leaf, root = x509.load_pem_x509_certificates(answer.content)
    leaf.verify_directly_issued_by(root)
    assert leaf.not_valid_after_utc - service.world.clock() <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("application/json", "application/json"),
        (CHAIN, CHAIN),
        (ALONE, ALONE),
        (DER, DER),
        ("*/*", CHAIN),
        ("text/html, application/json;q=0.2, application/pkix-cert;q=0.9", DER),
        ("application/*;q=0.5, application/pem-certificate-chain;q=0", "application/x-pem-file"),
    ],
)
def test_the_answer_is_what_the_client_accepts(service: Service, accept: str, given: str) -> None:
    query = {"profile": "kubelet-client", "node": "node-1"}
    answer = service.ask("POST", BLUE, 201, headers=PKCS10 | {"Accept": accept}, content=csr(), params=query)
    assert answer.headers["content-type"] == given
    again = service.ask("GET", answer.headers["location"], 200, headers={"Accept": given})
    assert again.content == answer.content
    match given:
        case "application/pkix-cert":
            x509.load_der_x509_certificate(answer.content)
        case "application/json":
            assert answer.json()["cluster"] == "blue"
        case _:
            assert answer.text.count("BEGIN CERTIFICATE") == (2 if given == CHAIN else 1)


def test_what_cannot_be_given_is_406_and_nothing_is_issued(service: Service) -> None:
    query = {"profile": "kubelet-client", "node": "node-1"}
    refused = service.ask(
        "POST", BLUE, 406, headers=PKCS10 | {"Accept": "text/html"}, content=csr(), params=query
    )
    assert slug(refused) == "notAcceptable"
    assert service.ask("GET", BLUE, 200).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "kind", "places"),
    [
        (b"{", 400, "malformed", []),
        (b"\xff", 400, "malformed", []),
        (b'{"profile": "admin", "profile": "admin"}', 400, "malformed", []),
        (b"[" * 100_000, 400, "malformed", []),
        (b"[]", 422, "invalid", [""]),
        (b"{}", 422, "invalid", ["/profile", "/csr"]),
        (b'{"profile": "admin", "csr": "x", "a/b~c": 1}', 422, "invalid", ["/a~1b~0c"]),
        (b'{"profile": "admin", "csr": "x", "\\ud800": 1}', 422, "invalid", [""]),
        (b'{"profile": "admin", "csr": "\\ud800"}', 422, "invalid", ["/csr"]),
        (
            b'{"profile": "admin", "csr": "x", "expiration_seconds": 600}',
            422,
            "invalid",
            ["/expiration_seconds"],
        ),
        (b'{"profile": "admin", "csr": "x", "expirationSeconds": 0}', 422, "invalid", ["/expirationSeconds"]),
        (
            b'{"profile": "admin", "csr": "x", "expirationSeconds": NaN}',
            422,
            "invalid",
            ["/expirationSeconds"],
        ),
        (b'{"profile": "admin", "csr": "x"}', 400, "badCSR", []),
        (b'{"profile": "none", "csr": "x"}', 422, "invalid", ["/profile"]),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(
    service: Service, body: bytes, status: int, kind: str, places: list[str]
) -> None:
    refused = service.ask("POST", BLUE, status, headers=JSON, content=body)
    assert (slug(refused), pointers(refused)) == (kind, places)


def test_other_media_types_are_415(service: Service) -> None:
    for given in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/jwt"}):
        assert slug(service.ask("POST", BLUE, 415, headers=given, content=csr())) == "unsupportedMediaType"
    assert slug(service.ask("POST", "clusters", 415, content=b"{}")) == "unsupportedMediaType"


def test_a_bare_csr_needs_a_profile(service: Service) -> None:
    assert pointers(service.ask("POST", BLUE, 422, headers=PKCS10, content=csr())) == ["/profile"]


def test_a_refusal_names_the_decision_that_explains_it(service: Service) -> None:
    service.world.revoke(entry(EntryKind.GROUP, "system:nodes"), name="nodes")
    refused = service.issue(403)
    assert slug(refused) == "revoked"
    assert "kube-system/nodes" in refused.json()["detail"]
    decision = service.ask("GET", refused.json()["instance"], 200, as_role=Role.AUDITOR).json()
    assert decision["id"] == refused.json()["decision"]
    assert (decision["verdict"], decision["reason"]) == ("refused", "revoked")
    assert decision["requestId"] == refused.headers["x-request-id"]
    assert decision["considered"][0]["revocation"] == "kube-system/nodes"


def test_a_certificate_is_explained(service: Service) -> None:
    made = service.issue().json()
    place = f"{BLUE}/{made['serialNumber']}"
    decision = service.ask("GET", f"{place}/decision", 200).json()
    assert (decision["id"], decision["verdict"]) == (made["decision"], "issued")
    window = service.ask("GET", f"{place}/renewal-info", 200).json()["suggestedWindow"]
    assert made["notBefore"] < window["start"] <= window["end"] < made["notAfter"]


@pytest.mark.parametrize("serial", ["1234", "xyz", "0", "%00", "a" * 200])
def test_an_unknown_serial_is_not_found(service: Service, serial: str) -> None:
    for what in ("", "/decision", "/renewal-info"):
        assert slug(service.ask("GET", f"{BLUE}/{serial}{what}", 404)) == "notFound"


def test_a_serial_is_read_as_people_write_it(service: Service) -> None:
    serial = service.issue().json()["serialNumber"].upper().zfill(40)
    colons = ":".join(serial[place : place + 2] for place in range(0, 40, 2))
    assert service.ask("GET", f"{BLUE}/{colons}", 200).json()["node"] == "node-1"


def test_the_holder_renews_over_mutual_tls(service: Service) -> None:
    current = held(service)
    for headers, body in ((JSON, {"json": {"csr": pem(csr(key=1))}}), (PKCS10, {"content": csr(key=1)})):
        answer = service.ask("POST", f"{BLUE}/renew", 201, held=current, headers=headers, **body)
        leaf = x509.load_pem_x509_certificate(
            answer.content if headers is PKCS10 else answer.json()["certificate"].encode()
        )
        assert leaf.subject.rfc4514_string() == "CN=system:node:node-1,O=system:nodes"
        service.ask("GET", answer.headers["location"], 200, held=leaf.public_bytes(Encoding.DER))
    read = service.ask("GET", f"{BLUE}/{current.serial}", 200).json()
    assert read["supersededAt"]
    assert read["status"] == "valid"


def test_a_query_bounds_the_lifetime_of_a_renewal(service: Service) -> None:
    answer = service.ask(
        "POST",
        f"{BLUE}/renew?expirationSeconds=3600",
        201,
        held=held(service),
        headers=PKCS10,
        content=csr(key=1),
    )
    leaf = x509.load_pem_x509_certificate(answer.content)
    assert leaf.not_valid_after_utc - service.world.clock() <= timedelta(hours=1)


def test_a_token_does_not_stand_for_the_key(service: Service) -> None:
    current = held(service)
    body: dict[str, Any] = {"content": csr(key=1), "headers": PKCS10}
    assert slug(service.ask("POST", f"{BLUE}/renew", 403, **body)) == "unauthorized"
    assert slug(service.ask("POST", f"{BLUE}/renew", 401, as_role=None, **body)) == "unauthenticated"
    # Where both are shown, the certificate counts.
    both = PKCS10 | service.token(Role.AUDITOR)
    service.ask("POST", f"{BLUE}/renew", 201, held=current, headers=both, content=csr(key=1))


def test_a_signed_message_renews_where_a_proxy_ends_tls(service: Service) -> None:
    current, jwt = held(service), {"Content-Type": "application/jwt"}
    renewal = message(service, current)
    answers = [
        service.ask("POST", f"{BLUE}/renew", 201, as_role=None, headers=jwt, content=renewal)
        for _ in range(2)
    ]
    assert answers[0].json()["serialNumber"] == answers[1].json()["serialNumber"]
    for wrong, status in (
        (message(service, current, key=5), 401),
        (message(service, current, audience="red"), 401),
        (b"not a message", 400),
        (b"a.b.c", 400),
        (b"", 400),
    ):
        service.ask("POST", f"{BLUE}/renew", status, as_role=None, headers=jwt, content=wrong)
    foreign = message(service, current, audience="red")
    service.ask("POST", "clusters/red/certificates/renew", 403, as_role=None, headers=jwt, content=foreign)
    service.world.clock.advance(minutes=6)
    service.ask("POST", f"{BLUE}/renew", 401, as_role=None, headers=jwt, content=renewal)


def test_an_expired_certificate_is_told_so_with_the_way_out(service: Service) -> None:
    current = held(service)
    service.world.clock.advance(days=5)
    bare: dict[str, Any] = {"content": csr(key=1), "headers": PKCS10}
    for method, path, body in (
        ("POST", f"{BLUE}/renew", bare),
        ("GET", f"{BLUE}/{current.serial}", {}),
        ("GET", "clusters", {}),
    ):
        refused = service.ask(method, path, 403, held=current, **body)
        assert slug(refused) == "expired"
        assert "an issuer can give this holder a new certificate" in refused.json()["detail"]
    renewal = message(service, current)
    jwt = {"Content-Type": "application/jwt"}
    refused = service.ask("POST", f"{BLUE}/renew", 403, as_role=None, headers=jwt, content=renewal)
    assert slug(refused) == "expired"
    assert service.world.decision(refused.json()["decision"]).reason == "expired"


def test_a_revoked_certificate_is_told_so(service: Service) -> None:
    current = held(service)
    service.world.revoke(entry(EntryKind.SERIAL_NUMBER, current.serial))
    for path, body in ((f"{BLUE}/renew", csr(key=1)), (f"{BLUE}?profile=kubelet-client&node=node-1", csr())):
        refused = service.ask("POST", path, 403, held=current, headers=PKCS10, content=body)
        assert slug(refused) == "revoked"


def test_a_foreign_certificate_is_nobody(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    del tmp_path_factory
    current = held(service)
    signature = bytes([current.der[-1] ^ 1])
    for presented in (current.der[:-1] + signature, b"not DER", b""):
        refused = service.ask("GET", "clusters", 401, held=presented)
        assert slug(refused) == "unauthenticated"


def test_a_certificate_of_one_cluster_means_nothing_in_another(service: Service) -> None:
    current = held(service, cluster="red")
    bare: dict[str, Any] = {"headers": PKCS10, "content": csr(key=1)}
    service.ask("GET", "clusters/red", 200, held=current)
    for cluster in ("blue", "nowhere"):
        service.ask("GET", f"clusters/{cluster}", 403, held=current)
        service.ask("GET", f"clusters/{cluster}/certificates/{current.serial}", 403, held=current)
        service.ask("POST", f"clusters/{cluster}/certificates/renew", 403, held=current, **bare)
        query = "profile=kubelet-client&node=node-1"
        service.ask("POST", f"clusters/{cluster}/certificates?{query}", 403, held=current, **bare)
    assert [item["name"] for item in service.ask("GET", "clusters", 200, held=current).json()["items"]] == [
        "red"
    ]


def test_a_node_asks_for_its_own_names_only(service: Service) -> None:
    current = held(service)
    other = held(service, "node-2")
    for query, body, status in (
        ("profile=kubelet-client&node=node-1", csr(key=1), 201),
        ("profile=kubelet-serving&node=node-1", csr(hosts=("node-1",), key=1), 201),
        ("profile=kubelet-client&node=node-2", csr(key=1), 403),
        ("profile=kubelet-client&node=node-1", csr("system:node:node-2", key=1), 403),
        ("profile=kubelet-serving&node=node-1", csr(hosts=("node-2",), key=1), 403),
        ("profile=kubelet-serving&node=node-1", csr(hosts=("10.0.0.1",), key=1), 403),
        ("profile=admin", csr(key=1), 403),
    ):
        service.ask("POST", f"{BLUE}?{query}", status, held=current, headers=PKCS10, content=body)
    assert slug(service.ask("GET", f"{BLUE}/{other.serial}", 404, held=current)) == "notFound"
    service.ask("GET", BLUE, 403, held=current)
    service.ask("GET", f"{BLUE}/{current.serial}/decision", 403, held=current)


def test_an_idempotency_key_gives_the_same_certificate(service: Service) -> None:
    key = {"Idempotency-Key": str(uuid4())} | service.token()
    body = {"profile": "kubelet-client", "node": "node-1", "csr": pem(csr())}
    first, second = (
        service.ask("POST", BLUE, 201, as_role=None, headers=key, json=body).json()["serialNumber"]
        for _ in range(2)
    )
    assert first == second
    refused = service.ask("POST", BLUE, 422, as_role=None, headers=key, json=body | {"node": "node-2"})
    assert slug(refused) == "idempotencyKeyReused"
    service.ask("POST", BLUE, 422, headers={"Idempotency-Key": "with space"}, json=body)
    service.ask("POST", BLUE, 422, headers={"Idempotency-Key": "x" * 256}, json=body)


def fleet(service: Service) -> dict[str, IssuedCertificate]:
    issue = service.world.issue
    made = {
        "kubelet": issue(),
        "serving": issue("kubelet-serving", hosts=("node-1.lab.example", "10.1.2.3")),
        "wild": issue("kubelet-serving", "node-2", hosts=("node-2.lab.example",)),
        "etcd": issue("etcd-server", "node-1", hosts=("etcd.example", "10.1.9.9")),
        "user": issue("kube-apiserver-client", None),
    }
    service.world.revoke(entry(EntryKind.SERIAL_NUMBER, made["user"].stored.serial))
    return made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"kubelet", "serving", "wild", "etcd", "user"}),
        ({"cn": "system:node:node-1"}, {"kubelet", "serving"}),
        ({"group": "team"}, {"user"}),
        ({"dns": "NODE-1.lab.example."}, {"serving"}),
        ({"dnsSuffix": "lab.example"}, {"serving", "wild"}),
        ({"dnsSuffix": ".example"}, {"serving", "wild", "etcd"}),
        ({"ip": "10.1.2.3"}, {"serving"}),
        ({"ip": "10.1.0.0/16"}, {"serving", "etcd"}),
        ({"profile": "kubelet-serving", "cn": "system:node:node-2"}, {"wild"}),
        ({"authority": "etcd"}, {"etcd"}),
        ({"status": "revoked"}, {"user"}),
        ({"status": "valid", "authority": "cluster"}, {"kubelet", "serving", "wild"}),
        ({"status": "expired"}, set()),
        ({"issuedAfter": "2030-01-01T00:00:00Z"}, set()),
        ({"notAfterBefore": "2030-01-01T00:00:00+02:00", "group": "team"}, {"user"}),
        ({"serial": "123456"}, set()),
    ],
)
def test_certificates_are_searched(service: Service, query: dict[str, str], found: set[str]) -> None:
    made = {issued.stored.serial: name for name, issued in fleet(service).items()}
    items = service.ask("GET", BLUE, 200, params=query).json()["items"]
    assert {made[item["serialNumber"]] for item in items} == found


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"serial": "xyz"}, "/serial"),
        ({"ip": "10.0.0.300"}, "/ip"),
        ({"dns": "a b"}, "/dns"),
        ({"dnsSuffix": ""}, "/dnsSuffix"),
        ({"cn": "\0"}, "/cn"),
        ({"group": "x" * 300}, "/group"),
        ({"status": "good"}, "/status"),
        ({"profile": "nothing"}, "/profile"),
        ({"authority": "root"}, "/authority"),
        ({"issuedAfter": "yesterday"}, "/issuedAfter"),
        ({"issuedAfter": "2026-01-01T00:00:00"}, "/issuedAfter"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "501"}, "/limit"),
        ({"cursor": "bogus"}, "/cursor"),
        ({"cursor": "%%%"}, "/cursor"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_name(service: Service, query: dict[str, str], place: str) -> None:
    refused = service.ask("GET", BLUE, 422, params=query)
    assert pointers(refused) == [place]


def test_pages_are_linked(service: Service) -> None:
    made = [issued.stored.serial for issued in fleet(service).values()]
    seen, path = [], f"/api/v1/{BLUE}?limit=2&authority=cluster"
    while path:
        answer = service.ask("GET", path, 200)
        seen += [item["serialNumber"] for item in answer.json()["items"]]
        link = answer.headers.get("link", "")
        path = link.removeprefix("<").removesuffix('>; rel="next"')
        assert bool(path) == (answer.json()["next"] is not None)
    assert len(seen) == 4
    assert len(set(seen)) == 4
    assert set(seen) < set(made)


def test_the_sample_in_every_form_is_one_certificate(service: Service) -> None:
    serial = service.issue().json()["serialNumber"]
    der = service.ask("GET", f"{BLUE}/{serial}", 200, headers={"Accept": DER}).content
    alone = service.ask("GET", f"{BLUE}/{serial}", 200, headers={"Accept": ALONE}).text
    assert ssl.PEM_cert_to_DER_cert(alone) == der
    assert base64.b64encode(der)[:20].decode() in alone
