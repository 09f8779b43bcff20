"""Clusters, authorities, access tokens and the audit trail over REST."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.signing_requests import csr
from tests.unit.pki.samples import sign
from tests.unit.web.service import PKCS10, Service, check_problem, pointers, slug

from trivet.authority.access import Role
from trivet.pki.profiles import CLUSTER_AUTHORITIES
from trivet.pki.roots import root_builder, root_subject, root_validity
from trivet.pki.serials import serial_from_random

GREEN = {"name": "green", "endpoint": "api.green.example"}
DER, PEM, CHAIN = "application/pkix-cert", "application/x-pem-file", "application/pem-certificate-chain"


def kubeadm_roots(service: Service) -> dict[str, dict[str, str]]:
    """Make a `pki/` folder's three roots, as JSON imports them."""
    roots = {}
    for name in CLUSTER_AUTHORITIES:
        key = ec.generate_private_key(ec.SECP384R1())
        validity = root_validity(service.world.clock())
        subject = root_subject(name, "green")
        root = sign(root_builder(subject, key.public_key(), serial_from_random(7), validity), key)
        roots[name.value] = {
            "certificate": root.public_bytes(Encoding.PEM).decode(),
            "privateKey": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        }
    return roots


@pytest.mark.parametrize("algorithm", ["ECDSA-P384", "RSA-4096"])
def test_a_cluster_gets_three_roots(service: Service, algorithm: str) -> None:
    made = service.ask("POST", "clusters", 201, json=GREEN | {"algorithm": algorithm})
    assert made.headers["location"] == "/api/v1/clusters/green"
    assert (
        made.json().items() >= (GREEN | {"serviceCidr": "10.96.0.0/12", "dnsDomain": "cluster.local"}).items()
    )
    assert service.ask("GET", "clusters/green", 200).json() == made.json()
    roots = service.ask("GET", "clusters/green/authorities", 200).json()["items"]
    assert [root["authority"] for root in roots] == ["cluster", "etcd", "front-proxy"]
    for root in roots:
        assert (root["state"], root["keyAlgorithm"]) == ("active", algorithm)
        der = service.ask(
            "GET", f"clusters/green/authorities/{root['authority']}/certificate", 200, headers={"Accept": DER}
        ).content
        assert x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() == root["certificate"]
        bundle = service.ask("GET", f"clusters/green/authorities/{root['authority']}/bundle", 200)
        assert (bundle.headers["content-type"], bundle.text) == (CHAIN, root["certificate"])
        one = service.ask("GET", f"clusters/green/authorities/{root['authority']}", 200).json()
        assert one["items"] == [root]
    default = service.ask("GET", "clusters/green/authorities/etcd/certificate", 200)
    assert default.headers["content-type"] == PEM
    service.ask("GET", "clusters/green/authorities/etcd/bundle", 406, headers={"Accept": DER})
    for name in ("service", "none", "%00"):
        service.ask("GET", f"clusters/green/authorities/{name}/certificate", 404)


def test_clusters_are_listed_by_name_in_pages(service: Service) -> None:
    first = service.ask("GET", "clusters?limit=1", 200)
    assert [item["name"] for item in first.json()["items"]] == ["blue"]
    assert first.headers["link"].endswith('; rel="next"')
    second = service.ask("GET", f"clusters?limit=1&cursor={first.json()['next']}", 200)
    assert ([item["name"] for item in second.json()["items"]], second.json()["next"]) == (["red"], None)


@pytest.mark.parametrize(
    ("members", "places"),
    [
        ({"name": "Green"}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a\0"}, ["/name"]),
        ({"name": "x" * 64}, ["/name"]),
        ({"endpoint": "not a host"}, ["/endpoint"]),
        (
            {"endpoint": "", "serviceCidr": "10.0.0.1/99", "dnsDomain": "-"},
            ["/endpoint", "/serviceCidr", "/dnsDomain"],
        ),
        ({"algorithm": "RSA-1024"}, ["/algorithm"]),
        ({"import": {}}, ["/import/cluster", "/import/etcd", "/import/front-proxy"]),
        ({"extra": 1}, ["/extra"]),
        ({"roots": None}, ["/roots"]),
        ({"name": 7}, ["/name"]),
    ],
)
def test_a_wrong_cluster_is_refused_with_each_place(
    service: Service, members: dict[str, Any], places: list[str]
) -> None:
    assert pointers(service.ask("POST", "clusters", 422, json=GREEN | members)) == places


def test_a_running_cluster_is_taken_over(service: Service) -> None:
    roots = kubeadm_roots(service)
    service.ask("POST", "clusters", 201, json=GREEN | {"import": roots})
    path = "clusters/green/certificates?profile=scheduler"
    chain = service.ask("POST", path, 201, headers=PKCS10, content=csr()).content
    leaf = x509.load_pem_x509_certificates(chain)[0]
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(roots["cluster"]["certificate"].encode()))
    again = service.ask("POST", "clusters", 409, json=GREEN | {"name": "lime", "import": roots})
    assert pointers(again) == ["/import/cluster"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda roots: roots["etcd"].update(privateKey=roots["cluster"]["privateKey"]),
        lambda roots: roots["etcd"].update(privateKey=roots["etcd"]["privateKey"].replace("A", "B")),
        lambda roots: roots["etcd"].update(privateKey=roots["etcd"]["privateKey"] * 500),
        lambda roots: roots["etcd"].update(certificate=roots["etcd"]["privateKey"]),
        lambda roots: roots["etcd"].update(certificate=""),
        lambda roots: roots["etcd"].update(password="x"),
        lambda roots: roots.pop("front-proxy"),
        lambda roots: roots.update(etcd=roots["cluster"]),
    ],
    ids=["of-another", "spoilt", "too-long", "swapped", "empty", "unknown-member", "missing", "twice"],
)
def test_no_answer_and_no_log_holds_a_private_key(
    service: Service,
    caplog: pytest.LogCaptureFixture,
    spoil: Any,  # noqa: ANN401
) -> None:
    caplog.set_level(logging.DEBUG)
    roots = kubeadm_roots(service)
    lines = [line for root in roots.values() for line in root["privateKey"].splitlines() if len(line) > 30]
    secrets = [line for line in lines if not line.startswith("-----")]
    spoil(roots)
    refused = service.client.post("/api/v1/clusters", json=GREEN | {"import": roots}, headers=service.token())
    assert refused.status_code in {400, 422}
    check_problem(refused)
    told = refused.text + caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert [line for line in secrets if line in told] == []


def test_a_cluster_is_made_once(service: Service) -> None:
    key = {"Idempotency-Key": "green-1"} | service.token()
    made = [
        service.ask("POST", "clusters", 201, as_role=None, headers=key, json=GREEN).json() for _ in range(2)
    ]
    assert made[0] == made[1]
    assert pointers(service.ask("POST", "clusters", 409, json=GREEN)) == ["/name"]
    other = GREEN | {"endpoint": "api.other.example"}
    assert (
        slug(service.ask("POST", "clusters", 422, as_role=None, headers=key, json=other))
        == "idempotencyKeyReused"
    )


@pytest.mark.parametrize("name", ["nowhere", "%00", "%ff", "a" * 500, "Blue", "%F0%9F%92%A9"])
def test_an_unknown_cluster_is_not_found(service: Service, name: str) -> None:
    for what in ("", "/authorities", "/certificates", "/renew-revocations"):
        assert slug(service.ask("GET", f"clusters/{name}{what}", 404)) == "notFound"


def test_a_token_shows_its_secret_once(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = service.ask(
        "POST",
        "tokens",
        201,
        json={"role": "auditor", "cluster": "blue", "description": "d", "expiresInSeconds": 60},
    )
    token = made.json()
    secret = token.pop("secret")
    assert token["expiresAt"] > token["createdAt"]
    assert service.ask("GET", made.headers["location"], 200).json() == token
    listed = service.ask("GET", "tokens", 200).text
    assert token["id"] in listed
    bearer = {"Authorization": f"bearer {secret}"}
    assert (
        service.ask("GET", "clusters", 200, as_role=None, headers=bearer).json()["items"][0]["name"] == "blue"
    )
    # Whoever takes the secret for the id is not shown it again, nor is anybody who reads the log.
    mistaken = service.ask("GET", f"tokens/{secret}", 404)
    service.ask("DELETE", made.headers["location"], 204)
    gone = service.ask("GET", "clusters", 401, as_role=None, headers=bearer)
    service.ask("DELETE", made.headers["location"], 404)
    trail = service.ask("GET", "audit-records", 200).text
    told = (
        listed + mistaken.text + gone.text + trail + "".join(str(vars(record)) for record in caplog.records)
    )
    assert secret not in told.replace(str(mistaken.request.url), "")


def test_tokens_are_listed_in_pages(service: Service) -> None:
    made = [service.ask("POST", "tokens", 201, json={"role": "issuer"}).json()["id"] for _ in range(3)]
    seen, path = [], "/api/v1/tokens?limit=2"
    while path:
        answer = service.ask("GET", path, 200)
        seen += [item["id"] for item in answer.json()["items"]]
        path = answer.headers.get("link", "").removeprefix("<").removesuffix('>; rel="next"')
    assert set(made) < set(seen)
    assert len(seen) == len(set(seen))
    assert pointers(service.ask("GET", "tokens?cursor=eA", 422)) == ["/cursor"]


@pytest.mark.parametrize(
    ("members", "places"),
    [
        ({"role": "holder"}, ["/role"]),
        ({"role": None}, ["/role"]),
        ({"expiresInSeconds": 0}, ["/expiresInSeconds"]),
        ({"expiresInSeconds": 10**30}, ["/expiresInSeconds"]),
        ({"expiresInSeconds": "60"}, None),
        ({"description": "a\nb"}, ["/description"]),
        ({"description": "a\0b"}, ["/description"]),
        ({"description": "x" * 2000}, ["/description"]),
        ({"secret": "trivet_mine"}, ["/secret"]),
        ({"role": "approver", "signerNames": ["kubernetes.io/kubelet-serving"]}, None),
        ({"role": "approver", "signerNames": ["kubernetes.io/nobody"]}, ["/signerNames"]),
        ({"role": "admin", "signerNames": ["kubernetes.io/kubelet-serving"]}, ["/signerNames"]),
    ],
)
def test_a_wrong_token_is_refused_with_its_place(
    service: Service, members: dict[str, Any], places: list[str] | None
) -> None:
    if places is None:
        service.ask("POST", "tokens", 201, json={"role": "auditor"} | members)
    else:
        assert pointers(service.ask("POST", "tokens", 422, json={"role": "auditor"} | members)) == places
    service.ask("POST", "tokens", 404, json={"role": "auditor", "cluster": "nowhere"})


def test_a_token_is_made_once(service: Service) -> None:
    key = {"Idempotency-Key": "t"} | service.token()
    service.ask("POST", "tokens", 201, as_role=None, headers=key, json={"role": "auditor"})
    assert (
        slug(service.ask("POST", "tokens", 409, as_role=None, headers=key, json={"role": "auditor"}))
        == "conflict"
    )


def test_an_administrator_of_a_cluster_makes_tokens_for_it_alone(service: Service) -> None:
    blue = service.token(Role.ADMIN, "blue")
    service.ask("POST", "tokens", 201, as_role=None, headers=blue, json={"role": "issuer", "cluster": "blue"})
    for members in ({}, {"cluster": "red"}, {"cluster": "nowhere"}):
        service.ask("POST", "tokens", 403, as_role=None, headers=blue, json={"role": "issuer"} | members)
    seen = service.ask("GET", "tokens", 200, as_role=None, headers=blue).json()["items"]
    assert {item["cluster"] for item in seen} == {"blue"}


def test_changes_leave_audit_records(service: Service) -> None:
    mine = {"X-Request-Id": "my-own.id_1"}
    service.ask("POST", "tokens", 201, json={"role": "issuer", "cluster": "blue"}, headers=mine)
    newest = service.ask("GET", "audit-records?limit=500", 200, as_role=Role.AUDITOR).json()["items"]
    record = next(item for item in newest if item["requestId"] == "my-own.id_1")
    assert (record["action"], record["cluster"]) == ("token.create", "blue")
    assert record["requester"].startswith("token:")
    first = service.ask("GET", "audit-records?limit=1", 200)
    assert "link" in first.headers
    assert pointers(service.ask("GET", "audit-records?cursor=eA", 422)) == ["/cursor"]
