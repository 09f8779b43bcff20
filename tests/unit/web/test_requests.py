"""Certificate requests, bootstrap tokens and the inventory over REST."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography import x509
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.unit.web.service import PKCS10, Service, pem, pointers, slug

from trivet.authority.access import Role
from trivet.pki.revocation import EntryKind

REQUESTS, INVENTORY = "clusters/blue/certificate-requests", "clusters/blue/inventory"
TOKENS = "clusters/blue/bootstrap-tokens"
WHOLE = {
    "name", "uid", "cluster", "resourceVersion", "profile", "signerName", "node", "usages", "expirationSeconds", "csr",
    "commonName", "organizations", "dnsNames", "ipAddresses", "publicKeySha256", "requester", "username", "groups",
    "extra", "labels", "annotations", "state", "reason", "conditions", "createdAt", "decidedAt", "decidedBy",
    "collectAt", "serialNumber", "certificate", "decision",
}  # fmt: skip


def submitted(service: Service, **members: object) -> dict[str, object]:
    asked = {"profile": "scheduler", "csr": pem(csr())} | members
    made: dict[str, object] = service.ask("POST", REQUESTS, 201, json=asked).json()
    return made


def test_a_request_is_submitted_looked_at_approved_and_its_certificate_fetched(service: Service) -> None:
    answer = service.ask(
        "POST", REQUESTS, 201, json={"profile": "scheduler", "csr": pem(csr()), "name": "mine"}
    )
    assert answer.headers["location"] == f"/api/v1/{REQUESTS}/mine"
    made = answer.json()
    assert set(made) == WHOLE
    assert (made["state"], made["csr"], made["username"]) == ("pending", pem(csr()), made["requester"])
    assert made["usages"] == ["digital signature", "client auth"]
    fetched = service.ask("GET", f"{REQUESTS}/mine", 200, as_role=Role.APPROVER)
    assert fetched.json() == made
    assert fetched.headers["etag"] == answer.headers["etag"] == f'"{made["resourceVersion"]}"'
    missing = service.ask("GET", f"{REQUESTS}/mine/certificate", 404)
    assert "is pending: no rule approves" in missing.json()["detail"]
    stale = {"If-Match": '"9999"'}
    service.ask("POST", f"{REQUESTS}/mine/approve", 412, json={}, headers=stale)
    current = {"If-Match": fetched.headers["etag"]}
    reason = {"reason": "planned"}
    done = service.ask(
        "POST", f"{REQUESTS}/mine/approve", 200, json=reason, headers=current, as_role=Role.APPROVER
    ).json()
    assert (done["state"], done["conditions"][0]["by"]) == ("issued", done["decidedBy"])
    certificate = service.ask("GET", f"{REQUESTS}/mine/certificate", 200)
    assert certificate.headers["content-type"].startswith("application/pem-certificate-chain")
    chain = x509.load_pem_x509_certificates(certificate.content)
    assert len(chain) == 2
    whole = service.ask(
        "GET", f"{REQUESTS}/mine/certificate", 200, headers={"Accept": "application/json"}
    ).json()
    assert whole["serialNumber"] == done["serialNumber"]
    service.ask("DELETE", f"{REQUESTS}/mine", 204)
    service.ask("GET", f"{REQUESTS}/mine", 404)


def test_a_csr_itself_is_submitted_with_the_rest_in_the_query(service: Service) -> None:
    query = {"profile": "kubelet-client", "node": "n1", "name": "raw", "expirationSeconds": "3600"}
    made = service.ask("POST", REQUESTS, 201, content=csr(), headers=PKCS10, params=query).json()
    assert (made["name"], made["node"], made["expirationSeconds"]) == ("raw", "n1", 3600)
    assert made["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet"
    refused = service.ask("POST", REQUESTS, 422, content=csr(), headers=PKCS10)
    assert pointers(refused) == ["/profile"]
    taken = service.ask("POST", REQUESTS, 409, content=csr(), headers=PKCS10, params=query)
    assert pointers(taken) == ["/name"]


def test_requests_are_listed_by_filters_page_by_page_newest_first(service: Service) -> None:
    for number in range(3):
        service.world.clock.advance(seconds=1)
        submitted(service, name=f"r{number}")
    service.ask("POST", f"{REQUESTS}/r1/deny", 200, json={"reason": "no"})
    first = service.ask("GET", REQUESTS, 200, params={"limit": "2"})
    assert [item["name"] for item in first.json()["items"]] == ["r2", "r1"]
    assert 'rel="next"' in first.headers["link"]
    second = service.ask("GET", REQUESTS, 200, params={"limit": "2", "cursor": first.json()["next"]})
    assert [item["name"] for item in second.json()["items"]] == ["r0"]
    denied = service.ask("GET", REQUESTS, 200, params={"state": "denied"}).json()["items"]
    assert [item["name"] for item in denied] == ["r1"]
    assert service.ask("GET", REQUESTS, 200, params={"node": "nobody"}).json()["items"] == []
    assert pointers(service.ask("GET", REQUESTS, 422, params={"state": "open"})) == ["/state"]
    assert pointers(service.ask("GET", REQUESTS, 422, params={"profile": "nope"})) == ["/profile"]


def test_a_decision_is_made_once_and_the_way_out_is_told(service: Service) -> None:
    name = submitted(service)["name"]
    service.ask("POST", f"{REQUESTS}/{name}/approve", 200, json={})
    assert service.ask("POST", f"{REQUESTS}/{name}/approve", 200, json={}).json()["state"] == "issued"
    refused = service.ask("POST", f"{REQUESTS}/{name}/deny", 409, json={})
    assert "revoke its certificate instead" in refused.json()["detail"]
    service.ask("POST", f"{REQUESTS}/nothing/approve", 404, json={})
    service.ask("POST", f"{REQUESTS}/{name}/approve", 422, json={"because": "x"})


def test_a_node_s_serving_request_is_issued_at_once_where_the_inventory_grants_it(service: Service) -> None:
    held = service.world.issue(node="n1").stored
    request = csr("system:node:n1", ("system:nodes",), ("n1", "10.0.0.7"))
    asked = {"profile": "kubelet-serving", "csr": pem(request)}
    waits = service.ask("POST", REQUESTS, 201, json=asked, held=held).json()
    assert (waits["state"], waits["username"]) == ("pending", "system:node:n1")
    assert waits["groups"] == ["system:nodes", "system:authenticated"]
    service.ask("PUT", f"{INVENTORY}/n1", 200, json={"ipAddresses": ["10.0.0.0/24"]})
    done = service.ask("POST", REQUESTS, 201, json=asked, held=held).json()
    assert (done["state"], done["decidedBy"]) == ("issued", "rule:serving-by-inventory")
    direct = {"profile": "kubelet-serving"}
    service.ask(
        "POST", "clusters/blue/certificates", 201, content=request, headers=PKCS10, params=direct, held=held
    )


def test_the_inventory_is_written_with_care(service: Service) -> None:
    made = service.ask(
        "PUT",
        f"{INVENTORY}/n1",
        200,
        json={"dnsNames": ["DB.example."], "ipAddresses": ["10.0.0.7", "2001:db8::/64"]},
    )
    assert made.json()["dnsNames"] == ["db.example"]
    assert made.json()["ipAddresses"] == ["10.0.0.7", "2001:db8::/64"]
    tag = {"If-Match": made.headers["etag"]}
    assert service.ask("GET", f"{INVENTORY}/n1", 200).headers["etag"] == made.headers["etag"]
    again = service.ask("PUT", f"{INVENTORY}/n1", 200, json={}, headers=tag)
    service.ask("PUT", f"{INVENTORY}/n1", 412, json={}, headers=tag)
    service.ask("DELETE", f"{INVENTORY}/n1", 412, headers=tag)
    service.ask("PUT", f"{INVENTORY}/n2", 200, json={"ipAddresses": ["10.0.0.7"]})
    conflict = service.ask("PUT", f"{INVENTORY}/n1", 409, json={"ipAddresses": ["10.0.0.0/24"]})
    assert "belongs to the node n2" in conflict.json()["detail"]
    wrong = service.ask(
        "PUT", f"{INVENTORY}/n1", 422, json={"dnsNames": ["ok.example", "*.x"], "ipAddresses": ["::/0"]}
    )
    assert pointers(wrong) == ["/dnsNames/1", "/ipAddresses/0"]
    assert pointers(service.ask("PUT", f"{INVENTORY}/N1", 422, json={})) == ["/node"]
    service.ask("DELETE", f"{INVENTORY}/n1", 204, headers={"If-Match": again.headers["etag"]})
    service.ask("GET", f"{INVENTORY}/n1", 404)
    listed = service.ask("GET", INVENTORY, 200, params={"limit": "1"}).json()
    assert [item["node"] for item in listed["items"]] == ["n2"]


def test_bootstrap_tokens_are_listed_page_by_page_and_wrong_ones_refused(service: Service) -> None:
    made = [service.ask("POST", TOKENS, 201, json={"node": f"n{number}"}) for number in range(3)]
    assert all(answer.headers["cache-control"] == "no-store" for answer in made)
    ids = sorted(answer.json()["id"] for answer in made)
    first = service.ask("GET", TOKENS, 200, params={"limit": "2"}).json()
    rest = service.ask("GET", TOKENS, 200, params={"cursor": first["next"]}).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids
    assert "token" not in first["items"][0]
    assert service.ask("GET", f"{TOKENS}/{ids[0]}", 200).json()["createdBy"].startswith("token:")
    service.ask("GET", "clusters/red/bootstrap-tokens/" + ids[0], 404)
    for wrong, place in (
        ({"node": "N1"}, "/node"),
        ({"groups": ["system:nodes"]}, "/groups/0"),
        ({"usages": []}, "/usages"),
        ({"description": "a\nb"}, "/description"),
        ({"expiresInSeconds": 0}, "/expiresInSeconds"),
    ):
        assert pointers(service.ask("POST", TOKENS, 422, json=wrong)) == [place]


def test_a_token_lives_no_longer_than_the_token_that_made_it(service: Service) -> None:
    short = service.token(Role.ADMIN, lifetime=timedelta(minutes=5))
    made = service.ask("POST", TOKENS, 201, json={}, headers=short, as_role=None).json()
    assert made["expiresAt"] == service.ask("GET", f"{TOKENS}/{made['id']}", 200).json()["expiresAt"]
    service.world.clock.advance(minutes=5)
    stale = {"Authorization": f"Bearer {made['token']}"}
    assert slug(service.ask("GET", REQUESTS, 401, headers=stale, as_role=None)) == "unauthenticated"


def test_metrics_count_requests_and_tell_how_many_wait(service: Service) -> None:
    submitted(service)
    name = submitted(service)["name"]
    service.ask("POST", f"{REQUESTS}/{name}/approve", 200, json={})
    text = service.client.get("/metrics", headers=service.token(Role.AUDITOR)).text
    assert 'trivet_certificate_requests_pending{cluster="blue"} 1.0' in text
    for outcome in ("pending", "approved", "issued"):
        assert (
            f'trivet_certificate_requests_total{{cluster="blue",outcome="{outcome}",profile="scheduler"}}'
            in text
        )


def test_a_request_that_may_not_be_issued_tells_so_and_is_no_error_of_the_approver(service: Service) -> None:
    name = submitted(service)["name"]
    service.world.revoke(entry(EntryKind.COMMON_NAME, "system:kube-scheduler"))
    done = service.ask("POST", f"{REQUESTS}/{name}/approve", 200, json={}).json()
    assert done["state"] == "failed"
    assert done["certificate"] is None
    assert service.ask("GET", f"decisions/{done['decision']}", 200).json()["verdict"] == "refused"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"profile": 1}', b"\xff"])
def test_a_body_that_cannot_be_read_is_refused(service: Service, body: bytes) -> None:
    answer = service.client.post(
        f"/api/v1/{REQUESTS}", content=body, headers=service.token() | {"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    assert json.loads(answer.text)["type"].startswith("urn:trivet:problem:")
