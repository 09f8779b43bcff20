"""CertificateSigningRequests of the Kubernetes API, asked without kubectl: what its transcripts do not show."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from tests.support.signing_requests import csr
from tests.support.world import World
from tests.unit.web.kubernetes.test_api import BLUE, MERGE, PROTOBUF, TABLE, Api
from tests.unit.web.kubernetes.test_protobuf import field, unknown
from tests.unit.web.service import JSON, Service, pem

from trivet.authority.access import Role
from trivet.authority.approval.bootstrap_tokens import WantedToken, create_bootstrap_token
from trivet.authority.approval.collect import collect
from trivet.authority.follow import forget_changes
from trivet.authority.install import OPERATOR
from trivet.pki.revocation import Entry, EntryKind
from trivet.web.kubernetes import listing

if TYPE_CHECKING:
    from trivet.store.certificates import StoredCertificate

CSRS = f"{BLUE}/apis/certificates.k8s.io/v1/certificatesigningrequests"
REST = "/api/v1/clusters/blue/certificate-requests"
CLIENT, KUBELET = "kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
JANE = csr("jane", ("team-blue",))


def node_csr(node: str = "n1", *hosts: str, key: int = 0) -> bytes:
    return csr(f"system:node:{node}", ("system:nodes",), hosts, key)


def request(name: str = "one", der: bytes = JANE, signer: str = CLIENT, **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    server = signer == SERVING
    usages = ["digital signature", "server auth" if server else "client auth"]
    written = {"request": base64.b64encode(pem(der).encode()).decode(), "signerName": signer}
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": written | {"usages": usages} | spec,
    }


def decision(kind: str = "Approved", **more: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": f"Kubectl{kind}", "message": "by kubectl"} | more


class Requests(Api):
    """The API of CertificateSigningRequests."""

    def make_request(self, name: str = "one", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        who = more.pop("who", None)
        made: dict[str, Any] = self.ask("POST", CSRS, 201, who=who, json=request(name, **more)).json()
        return made

    def decide(self, name: str = "one", code: int = 200, *conditions: dict[str, str]) -> dict[str, Any]:
        document = self.ask("GET", f"{CSRS}/{name}", 200).json()
        document["status"]["conditions"] = list(conditions or (decision(),))
        decided: dict[str, Any] = self.ask("PUT", f"{CSRS}/{name}/approval", code, json=document).json()
        return decided

    def told(self, query: str, who: dict[str, str] | None = None) -> list[tuple[str, str]]:
        path = f"{CSRS}?watch=true&timeoutSeconds=1&{query}"
        lines = self.ask("GET", path, 200, who=who).text.splitlines()
        events = [json.loads(line) for line in lines]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    def bootstrap(self, **wanted: Any) -> dict[str, str]:  # noqa: ANN401
        _, token = create_bootstrap_token(
            self.service.world.authority, OPERATOR, "blue", WantedToken(**wanted)
        )
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def api(service: Service) -> Requests:
    return Requests(service)


@pytest.fixture
def postgres_api(postgres_service: Service) -> Requests:
    return Requests(postgres_service)


def certificate_of(document: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(document["status"]["certificate"]))


# What is made, decided and issued


def test_a_request_waits_is_approved_and_has_its_certificate(api: Requests, world: World) -> None:
    made = api.make_request(expirationSeconds=3600)
    assert made["spec"] == request(expirationSeconds=3600)["spec"] | {
        "username": made["spec"]["username"],
        "groups": ["trivet:admin", "system:authenticated"],
    }
    assert made["spec"]["username"].startswith("token:")
    assert made["status"] == {}
    assert "generation" not in made["metadata"]
    decided = api.decide()
    [condition] = decided["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "Approved",
        "True",
        "KubectlApproved",
    )
    assert condition["message"].startswith("approved by token:")
    assert condition["message"].endswith(": by kubectl")
    assert "by" not in condition
    assert condition["lastTransitionTime"].endswith("Z")
    issued = certificate_of(decided)
    assert issued.not_valid_after_utc - world.clock().replace(microsecond=0) == timedelta(seconds=3600)
    assert api.ask("GET", f"{CSRS}/one", 200).json() == decided
    assert api.ask("GET", f"{CSRS}/one/approval", 200).json() == decided
    assert api.ask("GET", f"{CSRS}/one/status", 200).json() == decided
    told = api.ask("GET", f"{REST}/one", 200).json()
    assert (told["state"], told["resourceVersion"]) == ("issued", decided["metadata"]["resourceVersion"])


def test_what_rest_submits_is_seen_whatever_its_profile(api: Requests) -> None:
    body = {"profile": "etcd-peer", "node": "n1", "csr": pem(csr(hosts=("n1",))), "name": "peer"}
    api.ask("POST", REST, 201, json=body)
    found = api.ask("GET", f"{CSRS}/peer", 200).json()
    assert found["spec"]["signerName"] == "trivet.internal/etcd-peer"
    assert found["spec"]["usages"] == ["digital signature", "server auth", "client auth"]
    assert base64.b64decode(found["spec"]["request"]).decode() == pem(csr(hosts=("n1",)))
    again = request("other", csr("n2", hosts=("n2",)), "trivet.internal/etcd-peer")
    again["spec"]["usages"] = found["spec"]["usages"]
    api.ask("POST", CSRS, 201, json=again)
    names = api.ask("GET", f"{CSRS}?fieldSelector=spec.signerName=trivet.internal/etcd-peer", 200).json()
    assert [item["metadata"]["name"] for item in names["items"]] == ["other", "peer"]


def test_a_denied_request_stays_denied(api: Requests) -> None:
    api.make_request()
    denied = api.decide("one", 200, decision("Denied"))
    assert [each["type"] for each in denied["status"]["conditions"]] == ["Denied"]
    assert "certificate" not in denied["status"]
    both = api.decide("one", 422, decision("Denied"), decision())
    assert "Approved and Denied conditions are mutually exclusive" in both["message"]
    gone = api.decide("one", 422, decision())
    assert gone["details"]["causes"][0]["message"].startswith("Forbidden: updates may not remove a condition")


def test_what_is_refused_after_approval_has_failed_by_signer_validation(api: Requests, world: World) -> None:
    api.make_request()
    world.revoke(Entry(EntryKind.GROUP, "team-blue"))
    failed = api.decide()
    assert [each["type"] for each in failed["status"]["conditions"]] == ["Approved", "Failed"]
    assert failed["status"]["conditions"][1]["reason"] == "SignerValidationFailure"
    assert failed["status"]["conditions"][1]["message"].startswith("revoked: ")
    assert "certificate" not in failed["status"]


@pytest.mark.parametrize("how", [STRATEGIC, MERGE])
def test_a_patch_of_the_approval_approves(api: Requests, how: dict[str, str]) -> None:
    api.make_request()
    body = {"status": {"conditions": [decision()], "$setElementOrder/conditions": [{"type": "Approved"}]}}
    if how is MERGE:
        del body["status"]["$setElementOrder/conditions"]
    decided = api.ask("PATCH", f"{CSRS}/one/approval", 200, headers=how, json=body).json()
    certificate_of(decided)


def test_a_decision_in_protobuf_as_kubectl_sends_it_approves(api: Requests) -> None:
    made = api.make_request()
    condition = (
        field(1, "Approved")
        + field(2, "KubectlApprove")
        + field(3, "This CSR was approved by kubectl certificate approve.")
        + field(4, field(1, 1_700_000_000))
        + field(5, b"")
        + field(6, "True")
    )
    metadata = (
        field(1, "one") + field(5, made["metadata"]["uid"]) + field(6, made["metadata"]["resourceVersion"])
    )
    spec = field(1, pem(JANE)) + field(4, "x") + field(5, "client auth") + field(7, CLIENT) + field(8, 600)
    body = unknown(
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        field(1, metadata) + field(2, spec) + field(3, field(1, condition)),
    )
    decided = api.ask("PUT", f"{CSRS}/one/approval", 200, headers=PROTOBUF, content=body).json()
    assert decided["status"]["conditions"][0]["reason"] == "KubectlApprove"
    assert decided["spec"] == made["spec"]
    api.ask("PUT", f"{CSRS}/one/approval", 409, headers=PROTOBUF, content=body)


# What is wrong with it


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"request": "%%%"}, 400, None),
        ({"request": 5}, 400, None),
        ({"request": base64.b64encode(b"nonsense").decode()}, 422, "spec.request"),
        ({"request": ""}, 422, "spec.request"),
        ({"signerName": ""}, 422, "spec.signerName"),
        ({"signerName": "example.com/other"}, 422, "spec.signerName"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, 422, "spec.signerName"),
        ({"usages": []}, 422, "spec.usages"),
        ({"usages": "client auth"}, 400, None),
        ({"usages": ["client auth", "client auth"]}, 422, "spec.usages[0]"),
        ({"usages": ["client auth", "sleeping"]}, 422, "spec.usages[1]"),
        ({"usages": ["client auth", "server auth"]}, 422, "spec.usages[1]"),
        ({"usages": ["digital signature"]}, 422, "spec.usages"),
        ({"expirationSeconds": 599}, 422, "spec.expirationSeconds"),
        ({"expirationSeconds": "1h"}, 400, None),
        ({"expirationSeconds": 1 << 31}, 400, None),
    ],
)
def test_what_nobody_can_be_granted_is_refused_with_its_place(
    api: Requests, change: dict[str, Any], code: int, place: str | None
) -> None:
    refused = api.ask("POST", CSRS, code, json=request(**change)).json()
    assert [cause["field"] for cause in refused.get("details", {}).get("causes", [])] == [place] * (
        place is not None
    )


def test_no_request_is_for_system_masters(api: Requests) -> None:
    refused = api.ask("POST", CSRS, 403, json=request(der=csr("root", ("system:masters",)))).json()
    assert "system:masters" in refused["message"]


def test_a_name_is_taken_once_and_one_is_made_up_where_there_is_none(api: Requests) -> None:
    api.make_request()
    assert api.ask("POST", CSRS, 409, json=request()).json()["reason"] == "AlreadyExists"
    nameless = request()
    nameless["metadata"] = {}
    api.ask("POST", CSRS, 422, json=nameless)
    nameless["metadata"] = {"generateName": "csr-"}
    made = api.ask("POST", CSRS, 201, json=nameless).json()["metadata"]
    assert made["generateName"] == "csr-"
    assert len(made["name"]) == len("csr-") + 5
    nameless["metadata"] = {"name": "", "generateName": "csr-"}
    api.ask("POST", CSRS, 201, json=nameless)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (decision(status="False"), "FieldValueNotSupported"),
        (decision("Failed"), "FieldValueNotSupported"),
        (decision("Sleepy"), "FieldValueNotSupported"),
        (decision(""), "FieldValueRequired"),
    ],
)
def test_conditions_are_what_they_may_be(api: Requests, wrong: dict[str, str], reason: str) -> None:
    api.make_request()
    assert api.decide("one", 422, wrong)["details"]["causes"][0]["reason"] == reason
    assert (
        api.decide("one", 422, decision(), decision())["details"]["causes"][0]["reason"]
        == "FieldValueDuplicate"
    )
    assert api.ask("GET", f"{CSRS}/one", 200).json()["status"] == {}


def test_nobody_but_trivet_says_what_became_of_a_request(api: Requests) -> None:
    made = api.make_request()
    certificate = base64.b64encode(b"mine").decode()
    for status in ({"certificate": certificate}, {"conditions": [decision("Failed")]}):
        api.ask("PUT", f"{CSRS}/one/status", 422, json=made | {"status": status})
        api.ask("PATCH", f"{CSRS}/one/status", 422, headers=STRATEGIC, json={"status": status})
    # What `approval` decides is not decided here, and what it says already may be said again.
    status = {"conditions": [decision()]}
    assert api.ask("PUT", f"{CSRS}/one/status", 200, json=made | {"status": status}).json() == made
    decided = api.decide()
    assert api.ask("PUT", f"{CSRS}/one/status", 200, json=decided).json() == decided
    changed = decided | {"status": decided["status"] | {"certificate": certificate}}
    assert "existing certificate" in api.ask("PUT", f"{CSRS}/one/status", 422, json=changed).json()["message"]
    # In an update of the object itself, both count for nothing.
    assert api.ask("PUT", f"{CSRS}/one", 200, json=changed).json()["status"] == decided["status"]


def test_subresources_are_read_and_written_and_nothing_else(api: Requests) -> None:
    api.make_request()
    for part in ("approval", "status"):
        api.ask("DELETE", f"{CSRS}/one/{part}", 405)
        api.ask("POST", f"{CSRS}/one/{part}", 405, json={})
        api.ask("PATCH", f"{CSRS}/one/{part}", 415, headers={"Content-Type": "application/apply-patch+yaml"})
    api.ask("GET", f"{CSRS}/one/scale", 404)
    api.ask(
        "GET", f"{BLUE}/apis/certificates.k8s.io/v1/namespaces/default/certificatesigningrequests/one", 404
    )


# Labels, and who manages what


def test_labels_change_and_the_spec_never_does(api: Requests) -> None:
    made = api.make_request()
    body = {"metadata": {"labels": {"team": "blue"}}, "spec": {"usages": ["any"], "username": "root"}}
    labelled = api.ask("PATCH", f"{CSRS}/one", 200, headers=STRATEGIC, json=body).json()
    assert labelled["metadata"]["labels"] == {"team": "blue"}
    assert labelled["spec"] == made["spec"]
    assert labelled["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    again = api.ask("PATCH", f"{CSRS}/one", 200, headers=STRATEGIC, json=body).json()
    assert again == labelled
    spec = {"spec": {"usages": ["any"], "request": "bm9uZQ=="}}
    by_another = f"{CSRS}/one?fieldManager=another"
    assert api.ask("PATCH", by_another, 200, headers=MERGE, json=spec).json() == labelled
    unlabelled = {"metadata": {"labels": {"$patch": "replace", "owner": "jane"}}}
    replaced = api.ask("PATCH", f"{CSRS}/one", 200, headers=STRATEGIC, json=unlabelled).json()
    assert replaced["metadata"]["labels"] == {"owner": "jane"}
    directives: tuple[object, ...] = ("eat", {}, ["replace"])
    for directive in directives:
        body = {"metadata": {"$patch": directive}}
        api.ask("PATCH", f"{CSRS}/one", 400, headers=STRATEGIC, json=body)
    operations: tuple[object, ...] = ("Eat", ["Update"])
    for operation in operations:
        entry: dict[str, object] = {"manager": "m", "operation": operation, "fieldsV1": {"f:spec": {}}}
        body = {"metadata": {"managedFields": [entry]}}
        api.ask("PATCH", f"{CSRS}/one", 422, headers=MERGE, json=body)
    # An update that names no version is of whatever stands.
    del made["metadata"]["resourceVersion"]
    assert "labels" not in api.ask("PUT", f"{CSRS}/one", 200, json=made).json()["metadata"]
    replaced["metadata"]["labels"] = {"owner": "joe"}
    api.ask("PUT", f"{CSRS}/one", 409, json=replaced)


def test_a_request_comes_back_as_it_was_written(api: Requests) -> None:
    written = "\n" + pem(JANE).replace("\n", "\r\n")
    encoded = base64.b64encode(written.encode()).decode()
    made = api.ask("POST", CSRS, 201, json=request(request=encoded)).json()
    assert made["spec"]["request"] == encoded
    manager = made["metadata"]["managedFields"][0]
    assert set(manager["fieldsV1"]["f:spec"]) == {".", "f:request", "f:signerName", "f:usages"}


def test_a_dry_run_changes_nothing(api: Requests) -> None:
    made = api.ask("POST", f"{CSRS}?dryRun=All", 201, json=request()).json()
    assert "resourceVersion" not in made["metadata"]
    api.ask("GET", f"{CSRS}/one", 404)
    made = api.make_request()
    body = {"status": {"conditions": [decision()]}}
    told = api.ask("PATCH", f"{CSRS}/one/approval?dryRun=All", 200, headers=MERGE, json=body).json()
    assert told["status"]["conditions"][0]["type"] == "Approved"
    label = {"metadata": {"labels": {"a": "b"}}}
    told = api.ask("PATCH", f"{CSRS}/one?dryRun=All", 200, headers=MERGE, json=label).json()
    assert told["metadata"]["labels"] == {"a": "b"}
    api.ask("DELETE", f"{CSRS}/one?dryRun=All", 200)
    assert api.ask("GET", f"{CSRS}/one", 200).json() == made


# Who may


def test_a_bootstrap_token_makes_a_node_s_request_and_sees_its_own(api: Requests) -> None:
    version = api.make_request("first")["metadata"]["resourceVersion"]
    api.make_request("other")
    node = api.bootstrap()
    made = api.make_request("node-csr", der=node_csr(), signer=KUBELET, who=node)
    assert made["spec"]["username"].startswith("system:bootstrap:")
    assert "system:bootstrappers" in made["spec"]["groups"]
    assert certificate_of(made).subject == x509.load_der_x509_csr(node_csr()).subject
    assert api.ask("GET", f"{CSRS}/node-csr", 200, who=node).json() == made
    api.ask("GET", f"{CSRS}/other", 404, who=node)
    listed = api.ask("GET", CSRS, 200, who=node).json()["items"]
    assert [item["metadata"]["name"] for item in listed] == ["node-csr"]
    assert api.told(f"resourceVersion={version}", node) == [("ADDED", "node-csr"), ("MODIFIED", "node-csr")]
    assert len(api.told("resourceVersion=0", api.bootstrap())) == 0
    for signer, der in ((SERVING, node_csr("n1", "n1")), (CLIENT, JANE)):
        api.ask("POST", CSRS, 403, who=node, json=request("another", der, signer))
    api.ask("PUT", f"{CSRS}/node-csr/approval", 403, who=node, json=made)
    api.ask("DELETE", f"{CSRS}/node-csr", 403, who=node)


def test_a_node_asks_for_its_own_certificates_only(api: Requests, world: World) -> None:
    held: StoredCertificate = world.issue("kubelet-client", "n1", key=1).stored
    with api.service.presenting(held):
        made = api.ask("POST", CSRS, 201, who={}, json=request("next", node_csr(key=2), KUBELET)).json()
        certificate_of(made)
        waiting = request("serving", node_csr("n1", "other.example"), SERVING)
        assert api.ask("POST", CSRS, 201, who={}, json=waiting).json()["status"] == {}
        refused = api.ask("POST", CSRS, 403, who={}, json=request("theirs", node_csr("n2"), KUBELET)).json()
        assert "own names" in refused["message"]
        names = [item["metadata"]["name"] for item in api.ask("GET", CSRS, 200, who={}).json()["items"]]
    assert names == ["next", "serving"]


@pytest.mark.parametrize(
    ("role", "create", "approve", "delete"),
    [
        (Role.ADMIN, True, True, True),
        (Role.ISSUER, True, False, False),
        (Role.APPROVER, False, True, False),
        (Role.AUDITOR, False, False, False),
    ],
)
def test_roles_do_what_the_table_says(
    api: Requests, role: Role, *, create: bool, approve: bool, delete: bool
) -> None:
    who = api.service.token(role)
    made = api.make_request("there")
    assert api.ask("GET", f"{CSRS}/there", 200, who=who).json() == made
    api.ask("POST", CSRS, 201 if create else 403, who=who, json=request("mine"))
    decided = made | {"status": {"conditions": [decision("Denied")]}}
    api.ask("PUT", f"{CSRS}/there/approval", 200 if approve else 403, who=who, json=decided)
    attributes = {"group": "certificates.k8s.io", "resource": "signers", "verb": "approve", "name": CLIENT}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    place = f"{BLUE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert api.ask("POST", place, 201, who=who, json=review).json()["status"]["allowed"] is approve
    attributes |= {"resource": "certificatesigningrequests", "subresource": "approval", "verb": "update"}
    assert api.ask("POST", place, 201, who=who, json=review).json()["status"]["allowed"] is approve
    api.ask("DELETE", f"{CSRS}/there", 200 if delete else 403, who=who)


def test_an_approver_of_some_signers_decides_no_others(api: Requests) -> None:
    who = api.service.token(Role.APPROVER, signer_names=(SERVING, KUBELET))
    made = api.make_request()
    for part in ("", "/approval"):
        refused = api.ask("PUT", f"{CSRS}/one{part}", 403, who=who, json=labelled(made)).json()
        assert f"decides requests for {SERVING}, {KUBELET} only" in refused["message"]
    api.ask("POST", f"{REST}/one/deny", 403, who=who, json={})
    api.make_request("node", der=node_csr(), signer=KUBELET)
    found = labelled(api.ask("GET", f"{CSRS}/node", 200, who=who).json())
    certificate_of(api.ask("PUT", f"{CSRS}/node/approval", 200, who=who, json=found).json())
    place = f"{BLUE}/apis/authorization.k8s.io/v1"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    attributes = {"group": "certificates.k8s.io", "resource": "signers", "verb": "approve"}
    for name, allowed in ((SERVING, True), (CLIENT, False), ("", False)):
        spec = {"spec": {"resourceAttributes": attributes | {"name": name}}}
        told = api.ask("POST", f"{place}/selfsubjectaccessreviews", 201, who=who, json=review | spec).json()
        assert told["status"]["allowed"] is allowed, name
    rules = api.ask("POST", f"{place}/selfsubjectrulesreviews", 201, who=who, json={"spec": {}}).json()
    [signers] = [rule for rule in rules["status"]["resourceRules"] if rule["resources"] == ["signers"]]
    assert signers["resourceNames"] == [SERVING, KUBELET]


def labelled(document: dict[str, Any]) -> dict[str, Any]:
    """A document that approves, and has a label."""
    metadata = document["metadata"] | {"labels": {"a": "b"}}
    return document | {"metadata": metadata, "status": {"conditions": [decision()]}}


# Lists and watches


def test_a_list_comes_in_parts_by_name_and_by_selectors(
    api: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c", "a", "b"):
        api.make_request(name)
    api.ask("PATCH", f"{CSRS}/b", 200, headers=MERGE, json={"metadata": {"labels": {"team": "blue"}}})
    first = api.ask("GET", f"{CSRS}?limit=2", 200).json()
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    token = first["metadata"]["continue"]
    rest = api.ask("GET", f"{CSRS}?limit=2&continue={token}", 200).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
    monkeypatch.setattr(listing, "MOST_COUNTED", 0)
    assert "remainingItemCount" not in api.ask("GET", f"{CSRS}?limit=2", 200).json()["metadata"]
    for query, names in (
        ("labelSelector=team", ["b"]),
        ("labelSelector=!team&limit=1", ["a"]),
        ("fieldSelector=metadata.name=c", ["c"]),
        ("fieldSelector=metadata.name!=c", ["a", "b"]),
        (f"fieldSelector=spec.signerName={CLIENT},metadata.name=a", ["a"]),
        (f"fieldSelector=spec.signerName={KUBELET}", []),
        ("fieldSelector=spec.signerName=nobody", []),
        (f"fieldSelector=spec.signerName!={KUBELET}", ["a", "b", "c"]),
    ):
        found = api.ask("GET", f"{CSRS}?{query}", 200).json()["items"]
        assert [item["metadata"]["name"] for item in found] == names, query
    api.ask("GET", f"{CSRS}?fieldSelector=spec.username=x", 400)


def test_a_table_has_the_columns_of_an_api_server(api: Requests) -> None:
    api.make_request("waits")
    api.make_request("issued", expirationSeconds=7200)
    api.decide("issued")
    api.make_request("denied")
    api.decide("denied", 200, decision("Denied"))
    table = api.ask("GET", CSRS, 200, headers=TABLE).json()
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "Age",
        "SignerName",
        "Requestor",
        "RequestedDuration",
        "Condition",
    ]
    shown = [(row["cells"][0], row["cells"][4], row["cells"][5]) for row in table["rows"]]
    assert shown == [
        ("denied", "<none>", "Denied"),
        ("issued", "120m", "Approved,Issued"),
        ("waits", "<none>", "Pending"),
    ]


def test_a_watch_tells_every_step_once_and_in_order(api: Requests, world: World) -> None:
    version = api.make_request("before")["metadata"]["resourceVersion"]
    api.make_request("one")
    api.decide("one")
    api.ask("PATCH", f"{CSRS}/one", 200, headers=MERGE, json={"metadata": {"labels": {"a": "b"}}})
    api.make_request("two")
    api.decide("two", 200, decision("Denied"))
    api.decide("two", 200, decision("Denied"))  # changes nothing, so it is not told
    api.ask("DELETE", f"{CSRS}/before", 200)
    world.clock.advance(hours=1, seconds=1)
    assert collect(world.authority, lambda _: None)
    events = api.ask("GET", f"{CSRS}?watch=true&timeoutSeconds=1&resourceVersion={version}", 200).text
    told = [json.loads(line) for line in events.splitlines()]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in told]
    assert versions == list(range(int(version) + 1, int(version) + 1 + len(told)))
    told[7:] = sorted(told[7:], key=lambda event: event["object"]["metadata"]["name"])
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in told] == [
        ("ADDED", "one"),
        ("MODIFIED", "one"),
        ("MODIFIED", "one"),
        ("MODIFIED", "one"),
        ("ADDED", "two"),
        ("MODIFIED", "two"),
        ("DELETED", "before"),
        ("DELETED", "one"),
        ("DELETED", "two"),
    ]
    assert "certificate" in told[2]["object"]["status"]
    assert told[7]["object"]["status"]["certificate"] == told[2]["object"]["status"]["certificate"]
    assert api.told(f"resourceVersion={version}&fieldSelector=metadata.name=two") == [
        ("ADDED", "two"),
        ("MODIFIED", "two"),
        ("DELETED", "two"),
    ]
    assert api.told(f"resourceVersion={version}&labelSelector=a") == [("ADDED", "one"), ("DELETED", "one")]


def test_a_watch_list_as_newer_clients_begin_it(api: Requests) -> None:
    api.make_request("one")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    path = f"{CSRS}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=one&{query}"
    first, mark = (json.loads(line) for line in api.ask("GET", path, 200).text.splitlines())
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["kind"] == "CertificateSigningRequest"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_versions_from_before_the_log_are_too_old(api: Requests, world: World) -> None:
    made = api.make_request("one")
    api.decide("one")
    world.clock.advance(minutes=11)
    assert forget_changes(world.authority) == 3
    [event] = api.ask(
        "GET", f"{CSRS}?watch=true&resourceVersion={made['metadata']['resourceVersion']}", 200
    ).text.splitlines()
    assert json.loads(event)["object"]["code"] == 410


def test_a_collection_is_deleted_by_selectors(api: Requests) -> None:
    for name in ("a", "b"):
        api.make_request(name)
    api.ask("DELETE", f"{CSRS}?fieldSelector=metadata.name=a", 200)
    assert [item["metadata"]["name"] for item in api.ask("GET", CSRS, 200).json()["items"]] == ["b"]


def test_all_of_it_on_postgresql(postgres_api: Requests) -> None:
    api = postgres_api
    version = api.make_request("one")["metadata"]["resourceVersion"]
    api.decide("one")
    api.ask("PATCH", f"{CSRS}/one", 200, headers=STRATEGIC, json={"metadata": {"labels": {"a": "b"}}})
    api.ask("DELETE", f"{CSRS}/one", 200)
    assert [kind for kind, _ in api.told(f"resourceVersion={version}")] == ["MODIFIED"] * 3 + ["DELETED"]
    for text in ("\x00", "\ud800"):
        api.ask("GET", f"{CSRS}/{'a' + text.encode('utf-8', 'surrogatepass').hex()}", 404)
        labelled = json.dumps(request("two") | {"metadata": {"name": "two", "labels": {"a": text}}})
        api.ask("POST", CSRS, 422, headers=JSON, content=labelled)
        api.ask("GET", f"{CSRS}?labelSelector=a%00", 400)
        api.ask("GET", f"{CSRS}?fieldSelector=metadata.name=%00", 200)


# What there is


def test_discovery_and_openapi_tell_of_it(api: Requests) -> None:
    listed = api.ask("GET", f"{BLUE}/apis/certificates.k8s.io/v1", 200).json()["resources"]
    assert [(each["name"], each["verbs"]) for each in listed][1:] == [
        ("certificatesigningrequests/approval", ["get", "patch", "update"]),
        ("certificatesigningrequests/status", ["get", "patch", "update"]),
    ]
    assert listed[0]["shortNames"] == ["csr"]
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    groups = api.ask("GET", f"{BLUE}/apis", 200, headers=accept).json()["items"]
    [group] = [item for item in groups if item["metadata"].get("name") == "certificates.k8s.io"]
    parts = group["versions"][0]["resources"][0]["subresources"]
    assert [part["subresource"] for part in parts] == ["approval", "status"]
    document = api.ask("GET", f"{BLUE}/openapi/v3/apis/certificates.k8s.io/v1", 200).json()
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/approval"
    content = document["paths"][path]["patch"]["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" in content
