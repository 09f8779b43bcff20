"""The Kubernetes API, asked without kubectl: what its transcripts do not show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.world import World
from tests.unit.web.kubernetes.test_protobuf import field, unknown
from tests.unit.web.service import Service, service_over

from trivet.authority.access import Role
from trivet.authority.context import LockoutGuard, Policy
from trivet.authority.follow import forget_changes
from trivet.authority.install import OPERATOR
from trivet.authority.tokens import create_token, delete_token
from trivet.web.app import WebOptions
from trivet.web.kubernetes import identity, watching

if TYPE_CHECKING:
    from httpx2 import Response
    from starlette.requests import Request

    from trivet.web.kubernetes.identity import User

BLUE = "/kubernetes/blue"
RESOURCE = f"{BLUE}/apis/certificates.microsoft.com/v1/namespaces/kube-system/renewrevocations"
EVERYWHERE = f"{BLUE}/apis/certificates.microsoft.com/v1/renewrevocations"
REST = "/api/v1/clusters/blue/renew-revocations"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def manifest(name: str = "one", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": name},
        "spec": {"revocations": [{"kind": "group", "group": "nobody"}]} | spec,
    }


class Api:
    """The API, asked as an administrator where nothing else is said."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.admin = service.token()

    def ask(
        self,
        method: str,
        path: str,
        code: int,
        *,
        who: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,  # noqa: ANN401
    ) -> Response:
        shown = (self.admin if who is None else who) | (headers or {})
        answer: Response = self.service.client.request(method, path, headers=shown, **more)
        assert answer.status_code == code, answer.text
        if code >= 400 and answer.headers["content-type"] == "application/json":
            status = answer.json()
            assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
            assert status["code"] == code
            assert status["reason"]
            assert status["message"]
        return answer

    def make(self, name: str = "one", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
        made: dict[str, Any] = self.ask("POST", RESOURCE, 201, json=manifest(name, **spec)).json()
        return made

    def events(self, query: str) -> list[dict[str, Any]]:
        path = f"{EVERYWHERE}?watch=true&timeoutSeconds=1&{query}"
        return [json.loads(line) for line in self.ask("GET", path, 200).text.splitlines()]


@pytest.fixture
def api(service: Service) -> Api:
    return Api(service)


@pytest.fixture
def postgres_api(postgres_service: Service) -> Api:
    return Api(postgres_service)


# Who may ask


def test_nobody_in_particular_learns_whether_it_is_healthy_and_nothing_else(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert api.ask("GET", BLUE + path, 200, who={}).text == "ok"
    assert api.ask("GET", f"{BLUE}/version", 200, who={}).json()["major"] == "1"
    for path in ("/api", "/apis", "/openapi/v3", "/nothing"):
        refused = api.ask("GET", BLUE + path, 403, who={}).json()
        assert refused["message"] == f'forbidden: User "system:anonymous" cannot get path "{path}"'
    refused = api.ask("GET", RESOURCE, 403, who={}).json()
    assert 'User "system:anonymous" cannot list resource "renewrevocations"' in refused["message"]


def test_a_token_that_is_not_known_is_unauthorized(api: Api) -> None:
    refused = api.ask("GET", RESOURCE, 401, who={"Authorization": "Bearer nonsense"})
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json()["reason"] == "Unauthorized"


def test_a_foreign_certificate_is_unauthorized_and_not_anonymous(api: Api, world: World) -> None:
    foreign = world.issue().issuer  # of our own CA, but none that Trivet issued to anybody
    with api.service.presenting(foreign):
        api.ask("GET", f"{BLUE}/api", 401, who={})


def test_a_certificate_is_the_user_that_its_names_say(api: Api, world: World) -> None:
    held = world.issue().stored
    path = f"{BLUE}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with api.service.presenting(held):
        told = api.ask("POST", path, 201, who={}, json=body).json()["status"]["userInfo"]
        refused = api.ask("GET", RESOURCE, 403, who={}).json()
    assert told["username"] == "system:node:node-1"
    assert told["groups"] == ["system:nodes", "system:authenticated"]
    assert told["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert refused["message"].startswith(
        'renewrevocations.certificates.microsoft.com is forbidden: User "system:node:node-1" cannot list resource'
        ' "renewrevocations" in API group "certificates.microsoft.com" in the namespace "kube-system"'
    )


@pytest.mark.parametrize("header", ["Impersonate-User", "IMPERSONATE-UID", "impersonate-extra-scopes"])
def test_whoever_asks_as_somebody_else_is_refused_and_does_nothing(api: Api, header: str) -> None:
    as_jane, kind = {header: "jane"}, {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    access = {"spec": {"resourceAttributes": {"verb": "create", "resource": "renewrevocations"}}}
    told = [
        api.ask("POST", RESOURCE, 403, headers=as_jane, json=manifest()),
        api.ask(
            "POST",
            f"{BLUE}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            403,
            headers=as_jane,
            json=kind,
        ),
        api.ask(
            "POST",
            f"{BLUE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            403,
            headers=as_jane,
            json=access,
        ),
        api.ask("GET", f"{EVERYWHERE}?watch=true&timeoutSeconds=1", 403, headers=as_jane),
        api.ask("GET", f"{BLUE}/api", 403, headers=as_jane),
        api.ask("GET", f"{BLUE}/api", 403, headers=as_jane, who={}),
        api.ask("GET", f"{BLUE}/api", 403, headers=as_jane, who={"Authorization": "Bearer nonsense"}),
    ]
    for answer in told:
        assert answer.json()["reason"] == "Forbidden"
        assert answer.json()["message"] == (
            f"impersonation is not offered here: ask as yourself, without the header '{header.lower()}'"
        )
    assert api.ask("GET", EVERYWHERE, 200).json()["items"] == []


def test_a_token_of_another_cluster_is_forbidden_and_learns_no_names(api: Api) -> None:
    red = api.service.token(Role.ADMIN, "red")
    refusals = [api.ask("GET", f"/kubernetes/{name}/api", 403, who=red).json() for name in ("blue", "none")]
    assert refusals[0] == refusals[1]
    api.ask("GET", "/kubernetes/none/api", 404)


@pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER, Role.AUDITOR])
def test_only_who_may_write_revocations_changes_any(api: Api, role: Role) -> None:
    api.make()
    who = api.service.token(role)
    one = f"{RESOURCE}/one"
    api.ask("POST", RESOURCE, 403, who=who, json=manifest("two"))
    api.ask("PUT", one, 403, who=who, json=manifest())
    api.ask("PATCH", one, 403, who=who, headers=MERGE, json={})
    api.ask("PATCH", one, 403, who=who, headers=APPLY, json=manifest())
    api.ask("DELETE", one, 403, who=who)
    api.ask("DELETE", RESOURCE, 403, who=who)
    readable = 403 if role is Role.ISSUER else 200
    api.ask("GET", one, readable, who=who)
    api.ask("GET", f"{RESOURCE}?watch=1&timeoutSeconds=1", readable, who=who)


def test_every_verb_that_is_allowed_is_answered_as_allowed_in_protobuf_too(api: Api) -> None:
    path = f"{BLUE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def may(who: dict[str, str], verb: str) -> bool:
        attributes = field(2, verb) + field(3, "certificates.microsoft.com") + field(5, "renewrevocations")
        body = unknown("authorization.k8s.io/v1", "SelfSubjectAccessReview", field(2, field(1, attributes)))
        answer = api.ask("POST", path, 201, who=who, headers=PROTOBUF, content=body).json()
        allowed: bool = answer["status"]["allowed"]
        return allowed

    auditor = api.service.token(Role.AUDITOR)
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    assert all(may(api.admin, verb) for verb in (*verbs, "*"))
    assert [verb for verb in verbs if may(auditor, verb)] == ["get", "list", "watch"]
    assert not may(auditor, "*")
    assert not may(api.admin, "approve")


# Discovery


def test_discovery_comes_aggregated_with_its_own_type_and_is_not_sent_twice(api: Api) -> None:
    for version in ("v2", "v2beta1"):
        wanted = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        accept = {"Accept": f"{wanted},application/json"}
        found = api.ask("GET", f"{BLUE}/apis", 200, headers=accept)
        assert found.headers["content-type"] == wanted
        assert found.headers["vary"] == "Accept"
        items = found.json()["items"]
        assert "certificates.microsoft.com" in [item["metadata"]["name"] for item in items]
        again = accept | {"If-None-Match": found.headers["etag"]}
        assert api.ask("GET", f"{BLUE}/apis", 304, headers=again).content == b""
    assert api.ask("GET", f"{BLUE}/apis", 200).json()["kind"] == "APIGroupList"
    assert api.ask("GET", f"{BLUE}/api", 200).json() == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def test_the_address_of_an_openapi_document_never_changes_what_it_gives(api: Api) -> None:
    paths = api.ask("GET", f"{BLUE}/openapi/v3", 200).json()["paths"]
    assert "apis/certificates.microsoft.com/v1" in paths
    for place in paths.values():
        found = api.ask("GET", BLUE + place["serverRelativeURL"], 200)
        assert "immutable" in found.headers["cache-control"]
        assert found.json()["openapi"] == "3.0.0"
    other = api.ask("GET", f"{BLUE}/openapi/v3/api/v1?hash=other", 200)
    assert "immutable" not in other.headers["cache-control"]
    api.ask("GET", f"{BLUE}/openapi/v2", 406)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/apis/nothing", 404),
        ("GET", "/apis/certificates.microsoft.com/v9", 404),
        ("GET", "/apis/certificates.microsoft.com/v1/nothing", 404),
        ("GET", "/apis/certificates.microsoft.com/v1/namespaces/a/renewrevocations/b/status", 404),
        ("POST", "/apis/certificates.microsoft.com/v1/namespaces/a/renewrevocations/b", 405),
        ("PUT", "/apis/certificates.microsoft.com/v1/namespaces/a/renewrevocations", 405),
        ("DELETE", "/api/v1/namespaces/kube-system", 405),
        ("POST", "/api", 405),
    ],
)
def test_what_there_is_not_is_said_in_the_right_words(api: Api, method: str, path: str, code: int) -> None:
    api.ask(method, BLUE + path, code)


# The same object as in REST


@pytest.mark.parametrize("kind", ["api", "postgres_api"])
def test_what_is_made_here_is_seen_in_rest_and_back(kind: str, request: pytest.FixtureRequest) -> None:
    api: Api = request.getfixturevalue(kind)
    made = api.make(description="here")
    there = api.service.ask("GET", f"{REST}/kube-system/one", 200).json()
    assert there["metadata"]["uid"] == made["metadata"]["uid"]
    assert there["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert there["spec"]["revocations"][0]["kind"] == "Group"
    assert made["spec"]["revocations"][0]["kind"] == "group", "not as it was written"
    there["spec"]["description"] = "there"
    there.pop("status")
    api.service.ask("PUT", f"{REST}/kube-system/one", 200, json=there)
    seen = api.ask("GET", f"{RESOURCE}/one", 200).json()
    assert seen["spec"]["description"] == "there"
    assert seen["metadata"]["generation"] == 2
    assert "trivet" in [entry["manager"] for entry in seen["metadata"]["managedFields"]]
    api.ask("DELETE", f"{RESOURCE}/one", 200)
    api.service.ask("GET", f"{REST}/kube-system/one", 404)


def test_what_is_revoked_here_can_no_longer_be_issued(api: Api, world: World) -> None:
    victim = world.issue()
    made = api.ask(
        "POST", RESOURCE, 201, json=manifest(revocations=[{"kind": "Group", "group": "system:nodes"}])
    )
    assert any("kubelet-client" in warning for warning in made.headers.get_list("warning"))
    assert world.is_revoked(victim)
    api.service.issue(403, node="node-2")


def test_a_dry_run_warns_and_changes_nothing(api: Api, world: World) -> None:
    victim = world.issue()
    nodes = {"revocations": [{"kind": "Group", "group": "system:nodes"}]}
    api.make("other")
    before = api.ask("GET", EVERYWHERE, 200).json()
    tried = api.ask("POST", f"{RESOURCE}?dryRun=All", 201, json=manifest("two", **nodes))
    assert tried.headers.get_list("warning")
    assert tried.json()["metadata"]["uid"]
    patch = {"spec": nodes}
    tried = api.ask("PATCH", f"{RESOURCE}/other?dryRun=All", 200, headers=MERGE, json=patch)
    assert tried.headers.get_list("warning")
    assert tried.json()["metadata"]["generation"] == 2
    api.ask("POST", f"{RESOURCE}?dryRun=All", 409, json=manifest("other"))
    api.ask("DELETE", f"{RESOURCE}/other?dryRun=All", 200)
    api.ask("DELETE", f"{RESOURCE}/other", 200, json={"kind": "DeleteOptions", "dryRun": ["All"]})
    api.ask("POST", f"{RESOURCE}?dryRun=Some", 422, json=manifest("two"))
    assert api.ask("GET", EVERYWHERE, 200).json() == before
    assert not world.is_revoked(victim)


def test_the_guard_against_lockouts_holds_here_too(world: World) -> None:
    object.__setattr__(world.authority, "policy", Policy(lockout_guard=LockoutGuard.REFUSE))
    with service_over(world, WebOptions(burst=10_000)) as service:
        api = Api(service)
        entry = {"kind": "DNS", "dns": "kubernetes.default.svc"}
        refused = api.ask("POST", RESOURCE, 409, json=manifest(revocations=[entry])).json()
        assert "lock out" in refused["message"]
        api.ask("GET", f"{RESOURCE}/one", 404)


# Changes


def test_an_update_names_the_version_that_it_was_made_of(api: Api) -> None:
    made = api.make()
    one = f"{RESOURCE}/one"
    changed = made | {"spec": made["spec"] | {"description": "x"}}
    without = changed | {"metadata": {"name": "one"}}
    assert "must be specified" in api.ask("PUT", one, 422, json=without).json()["message"]
    assert api.ask("PUT", one, 200, json=changed).json()["metadata"]["generation"] == 2
    refused = api.ask("PUT", one, 409, json=changed).json()
    assert (refused["reason"], "has been modified" in refused["message"]) == ("Conflict", True)
    stranger = changed | {"metadata": {"name": "one", "uid": "00000000-0000-0000-0000-000000000000"}}
    stranger["metadata"]["resourceVersion"] = api.ask("GET", one, 200).json()["metadata"]["resourceVersion"]
    assert "UID" in api.ask("PUT", one, 409, json=stranger).json()["message"]


def test_a_write_that_changes_nothing_keeps_the_version(api: Api) -> None:
    made = api.make(description="x")
    one = f"{RESOURCE}/one"
    for kind in (MERGE, {"Content-Type": "application/json-patch+json"}):
        same: Any = {"spec": {"description": "x"}} if kind is MERGE else []
        assert api.ask("PATCH", one, 200, headers=kind, json=same).json() == made
    assert api.ask("PUT", one, 200, json=made).json() == made


def test_labels_change_no_generation(api: Api) -> None:
    api.make()
    patch = {"metadata": {"labels": {"a": "b"}}}
    changed = api.ask("PATCH", f"{RESOURCE}/one", 200, headers=MERGE, json=patch).json()["metadata"]
    assert (changed["generation"], changed["resourceVersion"], changed["labels"]) == (1, "2", {"a": "b"})


def test_a_deletion_can_demand_who_it_deletes(api: Api) -> None:
    made = api.make()["metadata"]
    one = f"{RESOURCE}/one"
    for wrong in ({"uid": "other"}, {"resourceVersion": "7"}):
        api.ask("DELETE", one, 409, json={"kind": "DeleteOptions", "preconditions": wrong})
    options = field(2, field(1, made["uid"])) + field(4, "Background")
    gone = api.ask(
        "DELETE", one, 200, headers=PROTOBUF, content=unknown("v1", "DeleteOptions", options)
    ).json()
    assert gone["status"] == "Success"
    assert gone["details"] == {
        "name": "one",
        "group": "certificates.microsoft.com",
        "kind": "renewrevocations",
        "uid": made["uid"],
    }
    api.ask("DELETE", one, 404)


def test_a_collection_is_deleted_by_a_selector(api: Api) -> None:
    for name in ("a", "b"):
        api.make(name)
    gone = api.ask("DELETE", f"{RESOURCE}?fieldSelector=metadata.name=a", 200).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    left = api.ask("GET", RESOURCE, 200).json()
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


def test_a_dry_run_in_the_body_deletes_no_collection(api: Api) -> None:
    for name in ("a", "b"):
        api.make(name)
    before = api.ask("GET", EVERYWHERE, 200).json()
    for asked in (["All"], ["All", "All"]):
        tried = api.ask("DELETE", RESOURCE, 200, json={"kind": "DeleteOptions", "dryRun": asked}).json()
        assert [item["metadata"]["name"] for item in tried["items"]] == ["a", "b"]
    options = unknown("v1", "DeleteOptions", field(5, "All"))
    api.ask("DELETE", RESOURCE, 200, headers=PROTOBUF, content=options)
    api.ask("DELETE", f"{RESOURCE}/a", 200, json={"dryRun": ["All", "All"]})
    assert api.ask("GET", EVERYWHERE, 200).json() == before
    auditor = api.service.token(Role.AUDITOR)
    api.ask("DELETE", RESOURCE, 403, who=auditor, json={"dryRun": []})


@pytest.mark.parametrize("path", [RESOURCE, f"{RESOURCE}/one"])
@pytest.mark.parametrize(
    "asked", ["All", "", ["all"], ["All", "all"], [""], [None], [["All"]], True, False, 0, {"All": 1}, {}]
)
def test_a_dry_run_that_is_misspelt_is_refused_and_deletes_nothing(
    api: Api, path: str, asked: object
) -> None:
    api.make()
    refused = api.ask("DELETE", path, 422, json={"kind": "DeleteOptions", "dryRun": asked}).json()
    assert refused["details"]["causes"][0]["field"] == "dryRun"
    api.ask("GET", f"{RESOURCE}/one", 200)
    api.ask("DELETE", path, 200, json={"kind": "DeleteOptions", "dryRun": []})
    api.ask("GET", f"{RESOURCE}/one", 404)


def test_preconditions_hold_for_each_object_of_a_collection(api: Api) -> None:
    made = [api.make(name)["metadata"] for name in ("a", "b")]
    for wrong in ({"uid": made[0]["uid"]}, {"resourceVersion": made[1]["resourceVersion"]}):
        api.ask("DELETE", RESOURCE, 409, json={"preconditions": wrong})
    unreadable: list[object] = [[], "", False, {"uid": 5}, {"resourceVersion": 0}]
    for unread in unreadable:
        api.ask("DELETE", RESOURCE, 400, json={"preconditions": unread})
    assert len(api.ask("GET", RESOURCE, 200).json()["items"]) == 2
    only = f"{RESOURCE}?fieldSelector=metadata.name=b"
    api.ask("DELETE", only, 200, json={"preconditions": {"uid": made[1]["uid"]}})
    assert [item["metadata"]["name"] for item in api.ask("GET", RESOURCE, 200).json()["items"]] == ["a"]


def test_no_more_of_a_collection_is_deleted_than_is_asked_for(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.make(name)
    gone = api.ask("DELETE", f"{RESOURCE}?limit=1", 200).json()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    among = ",".join(["metadata.namespace=kube-system"] * 100)
    api.ask("DELETE", f"{RESOURCE}?fieldSelector={among},metadata.name=b", 400)
    assert len(api.ask("GET", RESOURCE, 200).json()["items"]) == 2


def test_unknown_fields_are_warned_of_ignored_or_refused_as_asked(api: Api) -> None:
    wrong = manifest(colour="red")
    api.ask("POST", f"{RESOURCE}?fieldValidation=Strict", 400, json=wrong)
    warned = api.ask("POST", RESOURCE, 201, json=wrong)
    assert warned.headers.get_list("warning") == ['299 - "unknown field \\"spec.colour\\""']
    assert "colour" not in warned.json()["spec"]
    silent = api.ask("POST", f"{RESOURCE}?fieldValidation=Ignore", 201, json=manifest("two", colour="red"))
    assert not silent.headers.get_list("warning")
    patch = {"spec": {"colour": "red"}}
    strict = f"{RESOURCE}/one?fieldValidation=Strict"
    assert api.ask("PATCH", strict, 422, headers=MERGE, json=patch).json()["reason"] == "Invalid"
    doubled = json.dumps(manifest("three")).replace('"spec":', '"spec": {}, "spec":')
    api.ask(
        "POST",
        f"{RESOURCE}?fieldValidation=Strict",
        400,
        content=doubled,
        headers={"Content-Type": "application/json"},
    )
    api.ask("POST", f"{RESOURCE}?fieldValidation=Loose", 422, json=manifest("three"))


def test_server_side_apply_needs_a_manager_and_makes_what_there_is_not(api: Api) -> None:
    one = f"{RESOURCE}/one"
    api.ask("PATCH", one, 422, headers=APPLY, json=manifest())
    made = api.ask("PATCH", f"{one}?fieldManager=ann", 201, headers=APPLY, json=manifest()).json()
    assert [entry["operation"] for entry in made["metadata"]["managedFields"]] == ["Apply"]
    assert api.ask("PATCH", f"{one}?fieldManager=ann", 200, headers=APPLY, json=manifest()).json() == made
    changed = manifest(description="x", revocations=[{"kind": "Group", "group": "all"}])
    refused = api.ask("PATCH", f"{one}?fieldManager=bob", 409, headers=APPLY, json=changed).json()
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "ann" using certificates.microsoft.com/v1',
            "field": ".spec.revocations",
        }
    ]
    forced = api.ask("PATCH", f"{one}?fieldManager=bob&force=true", 200, headers=APPLY, json=changed).json()
    assert forced["spec"] == changed["spec"]
    unknown_field = manifest(colour="red")
    api.ask("PATCH", f"{one}?fieldManager=ann", 400, headers=APPLY, json=unknown_field)
    api.ask("PATCH", f"{one}?force=true", 422, headers=MERGE, json={})


def test_managed_fields_can_be_patched_and_reset(api: Api) -> None:
    made = api.make(description="x")
    one = f"{RESOURCE}/one"
    managed = made["metadata"]["managedFields"]
    moved = [managed[0] | {"manager": "moved", "operation": "Apply"}]
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": moved},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
    ]
    kind = {"Content-Type": "application/json-patch+json"}
    changed = api.ask("PATCH", one, 200, headers=kind, json=patch).json()["metadata"]
    assert [entry["manager"] for entry in changed["managedFields"]] == ["moved"]
    assert changed["generation"] == 1
    api.ask("PATCH", one, 409, headers=kind, json=patch)
    reset = api.ask("PATCH", one, 200, headers=MERGE, json={"metadata": {"managedFields": [{}]}}).json()
    assert "managedFields" not in reset["metadata"]
    api.ask("PATCH", one, 422, headers=MERGE, json={"metadata": {"managedFields": [{"operation": "x"}]}})


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"name": "one", "namespace": "default"}, 400),
        ({"name": "one", "finalizers": ["x"]}, 422),
        ({"name": "one", "ownerReferences": [{}]}, 422),
        ({"name": "one", "resourceVersion": "1"}, 400),
        ({"name": "one", "resourceVersion": 1}, 400),
        ({"name": "One"}, 422),
        ({}, 422),
        ({"generateName": 1}, 400),
        ({"name": 1}, 422),
        ({"name": "one", "labels": {"a": 1}}, 422),
        ({"name": "one", "managedFields": [1]}, 422),
        ([], 400),
    ],
)
def test_metadata_that_cannot_be_honoured_is_refused(api: Api, metadata: object, code: int) -> None:
    api.ask("POST", RESOURCE, code, json=manifest() | {"metadata": metadata})


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"{", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"a: &x [1]\nb: *x", "application/yaml", 400),
        (b"a: 1\na: 2", "application/yaml", 400),
        (b"a: [", "application/yaml", 400),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 415),
        (b"x", "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(api: Api, content: bytes, kind: str, code: int) -> None:
    api.ask("POST", RESOURCE, code, content=content, headers={"Content-Type": kind})


def test_yaml_is_read_as_kubernetes_reads_it(api: Api) -> None:
    body = """
apiVersion: certificates.microsoft.com/v1
kind: RenewRevocation
metadata: {generateName: from-yaml-}
spec:
  revocations:
  - {kind: SerialNumber, serialNumber: "0123", notBefore: 2020-04-17T17:22:05Z, includeRenewed: no}
"""
    made = api.ask("POST", RESOURCE, 201, content=body, headers={"Content-Type": "application/yaml"}).json()
    assert made["metadata"]["name"].startswith("from-yaml-")
    entry = made["spec"]["revocations"][0]
    assert (entry["notBefore"], entry["includeRenewed"]) == ("2020-04-17T17:22:05Z", False)


# Lists


def test_a_list_comes_in_parts_of_one_version(api: Api) -> None:
    for number in range(5):
        api.make(f"object-{number}")
    first = api.ask("GET", f"{EVERYWHERE}?limit=2", 200).json()
    assert first["metadata"]["remainingItemCount"] == 3
    api.make("object-9")
    found, token = list(first["items"]), first["metadata"]["continue"]
    while token:
        part = api.ask("GET", f"{EVERYWHERE}?limit=2&continue={token}", 200).json()
        assert part["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        found, token = found + part["items"], part["metadata"].get("continue")
    assert [item["metadata"]["name"] for item in found] == [*(f"object-{n}" for n in range(5)), "object-9"]
    whole = api.ask("GET", f"{EVERYWHERE}?limit=6", 200).json()["metadata"]
    assert "continue" not in whole


@pytest.mark.parametrize(
    "query", ["limit=x", "continue=x", "continue=WzEsMl0", "labelSelector=a=b=c", "resourceVersion=x"]
)
def test_a_list_that_is_asked_for_wrongly_is_refused(api: Api, query: str) -> None:
    api.ask("GET", f"{EVERYWHERE}?{query}", 400)


def test_nobody_knows_a_version_that_has_not_been(api: Api) -> None:
    refused = api.ask(
        "GET", f"{EVERYWHERE}?resourceVersion=999&resourceVersionMatch=NotOlderThan", 504
    ).json()
    assert refused["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_selector_goes_with_a_limit(api: Api) -> None:
    for number in range(6):
        api.ask(
            "POST",
            RESOURCE,
            201,
            json=manifest(f"o-{number}")
            | {"metadata": {"name": f"o-{number}", "labels": {"odd": str(number % 2)}}},
        )
    first = api.ask("GET", f"{EVERYWHERE}?limit=2&labelSelector=odd=1", 200).json()
    assert [item["metadata"]["name"] for item in first["items"]] == ["o-1", "o-3"]
    token = first["metadata"]["continue"]
    rest = api.ask("GET", f"{EVERYWHERE}?limit=2&labelSelector=odd=1&continue={token}", 200).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["o-5"]


def test_answers_come_as_a_table_as_metadata_or_not_at_all(api: Api) -> None:
    api.make(description="d" * 100)
    table = api.ask("GET", EVERYWHERE, 200, headers=TABLE).json()
    assert [column["name"] for column in table["columnDefinitions"] if not column["priority"]] == [
        "Name",
        "Entries",
        "Age",
    ]
    assert table["rows"][0]["cells"][:2] == ["one", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    for include, kind in (("Object", "RenewRevocation"), ("None", None)):
        row = api.ask("GET", f"{EVERYWHERE}?includeObject={include}", 200, headers=TABLE).json()["rows"][0]
        assert row.get("object", {}).get("kind") == kind
    partial = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    assert api.ask("GET", EVERYWHERE, 200, headers=partial).json()["kind"] == "PartialObjectMetadataList"
    for other in (
        "application/vnd.kubernetes.protobuf",
        "text/html",
        "application/json;as=Chart;g=meta.k8s.io;v=v1",
    ):
        api.ask("GET", EVERYWHERE, 406, headers={"Accept": other})


# Watches


@pytest.mark.parametrize("kind", ["api", "postgres_api"])
def test_a_watch_tells_what_has_changed_since_its_version(kind: str, request: pytest.FixtureRequest) -> None:
    api: Api = request.getfixturevalue(kind)
    api.make("a")
    api.make("b")
    api.ask("PATCH", f"{RESOURCE}/a", 200, headers=MERGE, json={"spec": {"description": "x"}})
    api.ask("DELETE", f"{RESOURCE}/b", 200)
    told = [
        (event["type"], event["object"]["metadata"]["name"], event["object"]["metadata"]["resourceVersion"])
        for event in api.events("resourceVersion=1")
    ]
    assert told == [("ADDED", "b", "2"), ("MODIFIED", "a", "3"), ("DELETED", "b", "4")]


def test_a_watch_without_a_version_tells_first_what_there_is(api: Api) -> None:
    api.make("a")
    for query in ("", "resourceVersion=0"):
        assert [event["type"] for event in api.events(query)] == ["ADDED"]
    events = api.events("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    mark = events[1]["object"]
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (mark["metadata"]["resourceVersion"], mark["kind"]) == ("1", "RenewRevocation")
    assert api.events("sendInitialEvents=false&resourceVersionMatch=NotOlderThan") == []
    api.ask("GET", f"{EVERYWHERE}?watch=true&sendInitialEvents=true", 422)


def test_an_object_comes_and_goes_by_its_labels(api: Api) -> None:
    api.make("a")
    for labels in ({"team": "blue"}, {"team": "blue", "x": "y"}, {"team": None}):
        api.ask("PATCH", f"{RESOURCE}/a", 200, headers=MERGE, json={"metadata": {"labels": labels}})
    events = api.events("resourceVersion=1&labelSelector=team=blue")
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[2]["object"]["metadata"]["labels"]["team"] == "blue"
    assert api.events("resourceVersion=1&fieldSelector=metadata.name=other") == []


def test_who_is_too_far_behind_is_told_to_list_again(api: Api, world: World) -> None:
    api.make("a")
    first = api.ask("GET", f"{EVERYWHERE}?limit=1", 200).json()
    api.make("b")
    part = api.ask("GET", f"{EVERYWHERE}?limit=1", 200).json()["metadata"]["continue"]
    api.make("c")
    world.clock.advance(hours=1)
    assert forget_changes(world.authority) == 3
    (event,) = api.events(f"resourceVersion={first['metadata']['resourceVersion']}")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert api.ask("GET", f"{EVERYWHERE}?limit=1&continue={part}", 410).json()["reason"] == "Expired"
    assert api.events("resourceVersion=3") == []


def test_a_watch_as_a_table_tells_its_columns_once(api: Api) -> None:
    for name in ("a", "b"):
        api.make(name)
    path = f"{EVERYWHERE}?watch=true&timeoutSeconds=1&resourceVersion=0"
    lines = api.ask("GET", path, 200, headers=TABLE).text.splitlines()
    columns = [len(json.loads(line)["object"]["columnDefinitions"]) for line in lines]
    assert columns == [5, 0]


def test_a_version_that_has_not_been_does_not_keep_others_from_their_events(api: Api) -> None:
    api.make("a")
    assert api.events(f"resourceVersion={10**17}") == []
    assert [event["type"] for event in api.events("resourceVersion=0")] == ["ADDED"]


def test_the_bearer_of_a_bootstrap_token_is_known_and_may_read_no_revocation(api: Api) -> None:
    made = api.service.ask("POST", "clusters/blue/bootstrap-tokens", 201, json={}).json()
    who = {"Authorization": f"Bearer {made['token']}"}
    path = f"{BLUE}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    told = api.ask("POST", path, 201, who=who, json=body).json()["status"]["userInfo"]
    assert told["username"] == f"system:bootstrap:{made['id']}"
    assert told["groups"] == ["system:bootstrappers", "system:authenticated"]
    api.ask("GET", RESOURCE, 403, who=who)
    api.ask("GET", "/kubernetes/red/api", 403, who=who)


def test_a_watch_ends_once_its_token_was_deleted(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_TRUSTED_SECONDS", 0.2)
    token, secret = create_token(world.authority, OPERATOR, role=Role.AUDITOR, cluster="blue")
    who = {"Authorization": f"Bearer {secret}"}

    async def identify(request: Request) -> User:
        delete_token(world.authority, OPERATOR, token.id)
        return await identity.identify(request)

    monkeypatch.setattr(watching, "identify", identify)
    answer = api.ask("GET", f"{EVERYWHERE}?watch=true&timeoutSeconds=20", 200, who=who)
    (event,) = [json.loads(line) for line in answer.text.splitlines()]
    assert (event["type"], event["object"]["code"]) == ("ERROR", 401)
