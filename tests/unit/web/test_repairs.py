"""Repairs and upkeep over REST: what they answer, what they refuse, and how a renewal goes through in a window."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from tests.support.fleet import Fleet, new_request
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.unit.web.service import PKCS10, Service, pem, pointers, slug

from trivet.authority.access import Role
from trivet.pki.possession import sign_renewal_message
from trivet.pki.renewal import certificate_id
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate

REPAIRS, RENEW = "clusters/blue/repairs", "clusters/blue/certificates/renew"
JWT = {"Content-Type": "application/jwt"}


@pytest.fixture
def fleet(service: Service) -> Fleet:
    """Give a member of etcd and a worker whose certificates expired a day ago."""
    fleet = Fleet(service.world)
    fleet.provision("cp", "etcd-peer")
    fleet.held["w", "kubelet-client"] = service.world.issue(node="w", key=0).stored
    service.world.clock.advance(days=5)
    return fleet


def opened(service: Service, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    made: dict[str, Any] = service.ask("POST", REPAIRS, 201, json=body).json()
    return made


def test_a_window_is_opened_followed_listed_and_closed(service: Service, fleet: Fleet) -> None:
    answer = service.ask("POST", REPAIRS, 201, json={"forSeconds": 3600, "patienceSeconds": 60})
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/{REPAIRS}/{made['id']}"
    assert (made["state"], made["total"], made["fresh"], made["patienceSeconds"]) == ("open", 2, 0, 60)
    assert [stage["state"] for stage in made["stages"]] == ["current", "waiting", "waiting"]
    assert [one["state"] for one in made["pending"]] == ["not-heard-of", "waiting"]
    assert [(bar["kind"], bar["command"]) for bar in made["bars"]] == [
        ("not-heard-of", "trivet repair abandon blue cp")
    ]
    service.world.clock.advance(seconds=1)
    fleet.renew("cp", "etcd-peer")
    now = service.ask("GET", f"{REPAIRS}/{made['id']}", 200, as_role=Role.AUDITOR).json()
    assert (now["fresh"], now["stages"][0]["state"], now["stages"][2]["state"]) == (1, "fresh", "current")
    listed = service.ask("GET", REPAIRS, 200, as_role=Role.APPROVER).json()["items"]
    assert [(one["id"], one["state"]) for one in listed] == [(made["id"], "open")]
    service.ask("DELETE", f"{REPAIRS}/{made['id']}", 204)
    assert slug(service.ask("DELETE", f"{REPAIRS}/{made['id']}", 409)) == "conflict"
    assert service.ask("GET", f"{REPAIRS}/{made['id']}", 200).json()["state"] == "closed"


def test_windows_are_paged(service: Service) -> None:
    for _ in range(3):
        service.ask("DELETE", f"{REPAIRS}/{opened(service)['id']}", 204)
        service.world.clock.advance(seconds=1)
    first = service.ask("GET", f"{REPAIRS}?limit=2", 200).json()
    rest = service.ask("GET", f"{REPAIRS}?limit=2&cursor={first['next']}", 200).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)


def test_a_rehearsal_opens_nothing_and_auditors_may(service: Service, fleet: Fleet) -> None:
    del fleet
    found = service.ask("POST", f"{REPAIRS}?dryRun=All", 200, json={}, as_role=Role.AUDITOR).json()
    assert (found["state"], found["id"], found["openedAt"], found["bars"]) == ("rehearsal", None, None, [])
    assert service.ask("GET", REPAIRS, 200).json()["items"] == []
    service.ask("POST", REPAIRS, 403, json={}, as_role=Role.AUDITOR)
    assert pointers(service.ask("POST", f"{REPAIRS}?dryRun=Some", 422, json={}))


def test_a_second_window_and_one_under_a_used_key_are_conflicts(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    admin = service.token()
    first, again = (
        service.ask("POST", REPAIRS, 201, json={}, headers=admin | key, as_role=None) for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]
    assert slug(service.ask("POST", REPAIRS, 409, json={})) == "conflict"
    other = service.ask("POST", REPAIRS, 422, json={"forSeconds": 60}, headers=admin | key, as_role=None)
    assert slug(other) == "idempotencyKeyReused"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"forSeconds": 1}, "/forSeconds"),
        ({"forSeconds": "x"}, "/forSeconds"),
        ({"patienceSeconds": 1}, "/patienceSeconds"),
        ({"expiredForSeconds": 10**9}, "/expiredForSeconds"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_a_body_that_is_wrong_is_refused_with_a_pointer(
    service: Service, body: dict[str, Any], pointer: str
) -> None:
    assert pointers(service.ask("POST", REPAIRS, 422, json=body)) == [pointer]


@pytest.mark.parametrize("window", ["nonsense", "01a20d6d-5afa-7074-9b3f-7d94a8cbdf5c", "%00"])
def test_a_window_that_is_none_is_not_found(service: Service, window: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/skips", {"stage": "etcd"}),
        ("POST", "/tokens", {"node": "w"}),
        ("POST", "/renewals", {"message": "x"}),
    ):
        assert slug(service.ask(method, f"{REPAIRS}/{window}{path}", 404, json=body)) == "notFound"


def test_an_expired_certificate_renews_over_mtls_in_a_window_and_in_its_turn(
    service: Service, fleet: Fleet
) -> None:
    peer, kubelet = fleet.held["cp", "etcd-peer"], fleet.held["w", "kubelet-client"]

    def renew(held: StoredCertificate, status: int) -> Any:  # noqa: ANN401
        return service.ask("POST", RENEW, status, held=held, content=new_request(), headers=PKCS10)

    refused = renew(kubelet, 403)
    assert slug(refused) == "expired"
    assert "trivet repair blue" in refused.json()["detail"]
    opened(service)
    waits = renew(kubelet, 409)
    assert (slug(waits), waits.headers["retry-after"]) == ("stageWaits", "5")
    renew(peer, 201)
    service.world.clock.advance(seconds=1)
    renew(kubelet, 201)
    assert slug(renew(kubelet, 403)) == "expired"
    (window,) = service.ask("GET", REPAIRS, 200).json()["items"]
    assert service.ask("GET", f"{REPAIRS}/{window['id']}", 200).json()["state"] == "completed"


def test_an_expired_certificate_renews_by_a_signed_message_where_a_proxy_ends_tls(
    service: Service, fleet: Fleet
) -> None:
    del fleet.held["cp", "etcd-peer"]
    kubelet = fleet.held["w", "kubelet-client"]
    service.ask("PUT", "clusters/blue/abandoned-nodes/cp", 200)

    def message(key: int) -> bytes:
        certificate = x509.load_der_x509_certificate(kubelet.der)
        now = service.world.clock.now
        return sign_renewal_message(pooled_key(0), certificate, csr(key=key), "blue", now).encode()

    def send(key: int, status: int) -> Any:  # noqa: ANN401
        return service.ask("POST", RENEW, status, content=message(key), headers=JWT, as_role=None)

    assert slug(send(1, 403)) == "expired"
    opened(service)
    first = send(1, 201)
    service.world.clock.advance(minutes=2)
    assert send(1, 201).text == first.text
    assert slug(send(2, 403)) == "expired"


def test_a_message_that_was_carried_by_hand_renews(service: Service, fleet: Fleet) -> None:
    kubelet = fleet.held["w", "kubelet-client"]
    certificate = x509.load_der_x509_certificate(kubelet.der)
    message = sign_renewal_message(pooled_key(0), certificate, csr(key=1), "blue", service.world.clock.now)
    service.world.clock.advance(days=3)
    service.ask("PUT", "clusters/blue/abandoned-nodes/cp", 200)
    path = f"{REPAIRS}/{opened(service)['id']}/renewals"
    for role in (Role.ISSUER, Role.APPROVER, Role.AUDITOR):
        service.ask("POST", path, 403, json={"message": message}, as_role=role)
    made = service.ask("POST", path, 201, json={"message": message}).json()
    assert made["node"] == "w"
    assert (
        service.ask("POST", path, 201, json={"message": message}).json()["serialNumber"]
        == made["serialNumber"]
    )
    assert slug(service.ask("POST", path, 400, json={"message": "nonsense"})) == "malformed"
    assert slug(service.ask("POST", path, 400, json={"message": "é" * 50})) == "malformed"


def test_a_one_time_token_gives_what_its_node_held_and_nothing_else(service: Service, fleet: Fleet) -> None:
    world = service.world
    world.revoke(entry(EntryKind.SERIAL_NUMBER, fleet.held["w", "kubelet-client"].serial))
    world.clock.advance(seconds=1)
    window = opened(service)
    assert [bar["command"] for bar in window["bars"] if bar["kind"] == "revoked"] == [
        "trivet repair token blue w"
    ]
    path = f"{REPAIRS}/{window['id']}/tokens"
    made = service.ask("POST", path, 201, json={"node": "w"}).json()
    assert [one["profile"] for one in made["identities"]] == ["kubelet-client"]
    assert made["expiresAt"] == window["endsAt"]
    world.clock.advance(seconds=1)
    bearer = {"Authorization": f"Bearer {made['secret']}"}

    def issue(status: int, **members: Any) -> Any:  # noqa: ANN401
        asked = {"profile": "kubelet-client", "node": "w", "csr": pem(new_request())} | members
        path = "clusters/blue/certificates"
        return service.ask("POST", path, status, json=asked, headers=bearer, as_role=None)

    assert slug(issue(403, node="cp")) == "rejectedIdentifier"
    assert slug(issue(403, profile="admin", node="w")) == "unauthorized"
    issue(201)
    assert "each once" in issue(403).json()["detail"]
    for method, url in (("GET", REPAIRS), ("GET", "clusters/blue"), ("GET", "clusters/blue/certificates")):
        service.ask(method, url, 403, headers=bearer, as_role=None)
    service.ask("DELETE", f"{REPAIRS}/{window['id']}", 204)
    assert slug(issue(401)) == "unauthenticated"
    assert slug(service.ask("POST", path, 409, json={"node": "w"})) == "conflict"


def test_a_token_for_a_node_that_held_nothing_or_is_none_is_refused(service: Service, fleet: Fleet) -> None:
    del fleet
    path = f"{REPAIRS}/{opened(service)['id']}/tokens"
    assert slug(service.ask("POST", path, 404, json={"node": "nobody"})) == "notFound"
    assert pointers(service.ask("POST", path, 422, json={"node": "No Node"})) == ["/node"]


def test_a_stage_is_skipped_once(service: Service, fleet: Fleet) -> None:
    del fleet
    path = f"{REPAIRS}/{opened(service)['id']}/skips"
    skipped = service.ask("POST", path, 201, json={"stage": "etcd"})
    assert skipped.headers["location"] == f"/api/v1/{path.removesuffix('/skips')}"
    assert [stage["state"] for stage in skipped.json()["stages"]] == ["skipped", "fresh", "current"]
    assert slug(service.ask("POST", path, 409, json={"stage": "etcd"})) == "conflict"
    assert pointers(service.ask("POST", path, 422, json={"stage": "rest"})) == ["/stage"]
    assert pointers(service.ask("POST", path, 422, json={"stage": "all"})) == ["/stage"]


class TestUpkeep:
    """What a cluster holds, when it renews, how long it survives."""

    def test_identities_are_listed_with_their_state_and_paged(self, service: Service, fleet: Fleet) -> None:
        fleet.provision("cp", "scheduler")
        service.world.issue("kube-apiserver-client", None)
        service.ask("PUT", "clusters/blue/abandoned-nodes/w", 200)
        path = "clusters/blue/identities"
        first = service.ask("GET", f"{path}?limit=3", 200, as_role=Role.AUDITOR).json()
        rest = service.ask("GET", f"{path}?limit=3&cursor={first['next']}", 200).json()
        shown = {
            (one["profile"], one["status"], one["stage"], one["waitedFor"], one["abandoned"])
            for one in [*first["items"], *rest["items"]]
        }
        assert shown == {
            ("etcd-peer", "expired", "etcd", True, False),
            ("kubelet-client", "expired", "rest", False, True),
            ("scheduler", "valid", "rest", True, False),
            ("kube-apiserver-client", "valid", "rest", False, False),
        }
        only = service.ask("GET", f"{path}?node=cp", 200).json()["items"]
        assert {one["node"] for one in only} == {"cp"}

    def test_a_node_is_given_up_and_taken_back(self, service: Service, fleet: Fleet) -> None:
        del fleet
        path = "clusters/blue/abandoned-nodes/"
        assert service.ask("PUT", path + "w", 200).json() == {"node": "w", "identities": 1}
        service.ask("DELETE", path + "w", 204)
        assert slug(service.ask("DELETE", path + "w", 404)) == "notFound"
        assert slug(service.ask("PUT", path + "nobody", 404)) == "notFound"

    def test_the_budget_is_negative_where_it_is_used_up(self, service: Service, fleet: Fleet) -> None:
        fleet.provision("v", "kubelet-client")
        found = service.ask("GET", "clusters/blue/outage-budget", 200, as_role=Role.AUDITOR).json()
        assert found["seconds"] < 0
        assert [one["node"] for one in found["nodes"]][-1] == "v"
        assert found["nodes"][-1]["seconds"] > 3 * 86_400
        assert service.ask("GET", "clusters/red/outage-budget", 200).json()["seconds"] is None

    def test_the_budget_is_scraped(self, service: Service, fleet: Fleet) -> None:
        end = min(one.not_after for one in fleet.held.values()).timestamp()
        shown = service.client.get("/metrics", headers=service.token()).text
        line = next(one for one in shown.splitlines() if one.startswith("trivet_outage_budget_end_timestamp"))
        assert line.startswith('trivet_outage_budget_end_timestamp_seconds{cluster="blue"}')
        assert float(line.rpartition(" ")[2]) == end

    def test_a_whole_cluster_is_asked_to_renew_early(self, service: Service, fleet: Fleet) -> None:
        fleet.provision("v", "kubelet-client")
        service.world.clock.advance(hours=1)
        path = "clusters/blue/renewals"
        asked = service.ask("POST", path, 201, json={"overSeconds": 600})
        made = asked.json()
        assert asked.headers["location"] == f"/api/v1/{path}/{made['id']}"
        assert (made["total"], made["fresh"], len(made["late"])) == (3, 0, 3)
        held = fleet.held["v", "kubelet-client"]
        url = f"clusters/blue/certificates/{held.serial}/renewal-info"
        window = service.ask("GET", url, 200).json()["suggestedWindow"]
        assert window["start"] >= made["askedAt"][:19]
        assert window["end"] <= made["endsAt"]
        service.world.clock.advance(minutes=1)
        fleet.renew("v", "kubelet-client")
        assert service.ask("GET", f"{path}/{made['id']}", 200, as_role=Role.AUDITOR).json()["fresh"] == 1
        assert len(service.ask("GET", path, 200).json()["items"]) == 1
        assert slug(service.ask("GET", f"{path}/nonsense", 404)) == "notFound"
        assert pointers(service.ask("POST", path, 422, json={"overSeconds": 10**7})) == ["/overSeconds"]
        service.ask("POST", path, 403, json={}, as_role=Role.ISSUER)

    def test_anybody_may_ask_when_to_renew_by_the_name_of_rfc_9773(self, service: Service) -> None:
        held = service.world.issue().stored
        extension = x509.load_der_x509_certificate(held.der).extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        )
        assert extension.value.key_identifier is not None
        name = certificate_id(extension.value.key_identifier, int(held.serial, 16))
        answer = service.ask("GET", f"renewal-info/{name}", 200, as_role=None)
        assert answer.headers["retry-after"] == "3600"
        url = f"clusters/blue/certificates/{held.serial}/renewal-info"
        assert service.ask("GET", url, 200).json() == answer.json()
        assert slug(service.ask("GET", "renewal-info/a.b", 404, as_role=None)) == "notFound"
