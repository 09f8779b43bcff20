"""RenewRevocations over REST: as YAML and as JSON, in a cluster and in all."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from starlette.responses import Response
from tests.unit.web.service import JSON, YAML, Service, check_problem, pointers, service_over, slug

from trivet.authority.access import Role
from trivet.authority.context import LockoutGuard, Policy
from trivet.web.app import WebOptions
from trivet.web.warning_header import add_warnings

SAMPLE = """\
apiVersion: certificates.microsoft.com/v1
kind: RenewRevocation
metadata:
  name: my-renew-revocation
  namespace: kube-system
spec:
  description: My list of renew revocations
  revocations:
  - description: Revoked certificates by serial number
    kind: serialnumber
    notBefore: "2020-04-17T17:22:05Z"
    serialNumber: 77fdf4b1033b387aaace6ce1c18710c2
  - description: Revoked certificates by group
    group: system:nodes
    kind: Group
  - description: Revoked certificates by DNS
    dns: kubernetes.default.svc.
    kind: DNS
  - description: Revoked certificates by DNS Suffix
    dns: .cluster.local
    kind: DNS
  - description: Revoked certificates by IP
    ip: 170.63.128.124
    kind: IP
"""
PLACES = ("clusters/blue/renew-revocations", "renew-revocations")
ONE = "kube-system/my-renew-revocation"


def manifest(**entry: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "apiVersion": "certificates.microsoft.com/v1",
        "kind": "RenewRevocation",
        "metadata": {"name": "one"},
        "spec": {"revocations": [entry or {"kind": "Group", "group": "team"}]},
    }


BODIES = [
    pytest.param(YAML, SAMPLE, id="YAML"),
    pytest.param({"Content-Type": "text/yaml; charset=utf-8"}, SAMPLE, id="text-YAML"),
    pytest.param(JSON, json.dumps(yaml.safe_load(SAMPLE)), id="JSON"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("headers", "body"), BODIES)
def test_the_sample_stands_as_it_is(service: Service, place: str, headers: dict[str, str], body: str) -> None:
    hit = service.issue().json()["serialNumber"]
    made = service.ask("POST", place, 201, headers=headers, content=body)
    assert made.headers["location"] == f"/api/v1/{place}/{ONE}"
    assert made.headers["etag"] == '"1"'
    warnings = made.headers.get_list("warning")
    assert warnings
    assert all(warning.startswith('299 - "') and warning.endswith('"') for warning in warnings)
    assert made.json()["status"] == {"marked": 1}
    assert [entry["kind"] for entry in made.json()["spec"]["revocations"]] == [
        "SerialNumber", "Group", "DNS", "DNS", "IP",
    ]  # fmt: skip
    assert service.ask("GET", f"clusters/blue/certificates/{hit}", 200).json()["status"] == "revoked"
    assert slug(service.issue(403)) == "revoked"
    read = service.ask("GET", made.headers["location"], 200)
    assert read.headers["etag"] == '"1"'
    assert read.json() | {"status": None} == made.json() | {"status": None}
    listed = service.ask("GET", place, 200).json()
    assert (listed["items"], listed["next"]) == ([read.json()], None)


@pytest.mark.parametrize("place", PLACES)
def test_a_preview_does_nothing(service: Service, place: str) -> None:
    service.issue()
    seen = service.ask("POST", f"{place}?dryRun=All", 200, headers=YAML, content=SAMPLE)
    preview = seen.json()
    assert preview["count"] == 1
    hit = {"cluster": "blue", "profile": "kubelet-client", "node": "node-1", "count": 1}
    end = preview["sample"][0]["notAfter"]
    assert (preview["hits"], preview["hasMoreHits"], preview["byLineage"]) == ([hit], False, 0)
    assert preview["profiles"] == [
        {"profile": "kubelet-client", "count": 1, "nodes": 1, "firstNotAfter": end}
    ]
    nodes = next(one for one in preview["findings"] if one["profile"] == "kubelet-client")
    assert (nodes["certificates"], nodes["firstNotAfter"], nodes["locksOut"]) == (1, end, False)
    assert [one["detail"] for one in preview["findings"]] == preview["warnings"]
    assert preview["sample"][0]["commonName"] == "system:node:node-1"
    assert "Group system:nodes, until the entry is deleted" in preview["banned"]
    assert preview["locksOut"]
    assert preview["warnings"]
    assert len(seen.headers.get_list("warning")) == len(preview["warnings"])
    assert preview["token"]
    assert service.ask("GET", place, 200).json()["items"] == []
    service.issue()
    assert pointers(service.ask("POST", f"{place}?dryRun=Some", 422, headers=YAML, content=SAMPLE)) == [
        "/dryRun"
    ]
    refused = service.ask(
        "POST", f"{place}?dryRun=All", 422, headers=YAML, content=SAMPLE.replace("Group", "Gruppe")
    )
    assert slug(refused) == "badRevocation"


@pytest.mark.parametrize("place", PLACES)
def test_an_object_is_replaced_at_the_version_that_was_read(service: Service, place: str) -> None:
    service.ask("POST", place, 201, headers=YAML, content=SAMPLE)
    path = f"{place}/{ONE}"
    read = service.ask("GET", path, 200)
    changed = read.json()
    changed["spec"]["revocations"] = [{"kind": "Group", "group": "team"}]
    assert service.ask("PUT", f"{path}?dryRun=All", 200, json=changed).json()["count"] == 0
    stale = service.ask("PUT", path, 412, json=changed, headers={"If-Match": '"7"'})
    assert slug(stale) == "preconditionFailed"
    replaced = service.ask("PUT", path, 200, json=changed, headers={"If-Match": read.headers["etag"]})
    assert replaced.headers["etag"] == '"2"'
    assert replaced.json()["spec"]["revocations"] == changed["spec"]["revocations"]
    assert replaced.json()["metadata"]["uid"] == changed["metadata"]["uid"]
    service.issue()
    # The same again changes nothing, so the version stays.
    assert service.ask("PUT", path, 200, json=replaced.json()).headers["etag"] == '"2"'
    for bad in ("3", '"x"', 'W/"2"', '"1", "2"'):
        assert slug(service.ask("PUT", path, 400, json=changed, headers={"If-Match": bad})) == "malformed"
    service.ask("DELETE", path, 412, headers={"If-Match": '"1"'})
    service.ask("DELETE", path, 204, headers={"If-Match": '"2"'})
    service.ask("DELETE", path, 404)
    service.ask("GET", path, 404)
    service.ask("PUT", path, 404, json=changed)


def test_the_url_names_the_object(service: Service) -> None:
    service.ask("POST", PLACES[0], 201, json=manifest())
    for name in ("kube-system/other", "default/one"):
        refused = service.ask("PUT", f"{PLACES[0]}/{name}", 422, json=manifest())
        assert pointers(refused) == ["/metadata"]
    service.ask("PUT", f"{PLACES[0]}/kube-system/one", 200, json=manifest(), headers={"If-Match": "*"})


@pytest.mark.parametrize("name", ["%00/a", "a/%0a", "a/%ff", "a/" + "b" * 300])
def test_what_no_object_is_called_is_not_found(service: Service, name: str) -> None:
    for method in ("GET", "DELETE"):
        service.ask(method, f"{PLACES[0]}/{name}", 404)


def test_warnings_fit_into_headers(service: Service) -> None:
    entries = [{"kind": "DNS", "dns": f".{'c' * 60}{number}.cluster.local"} for number in range(500)]
    entries += [{"kind": "DNS", "dns": "kubernetes.default"}] * 400
    seen = service.ask(
        "POST", f"{PLACES[0]}?dryRun=All", 200, json=manifest() | {"spec": {"revocations": entries}}
    )
    shown = seen.headers.get_list("warning")
    assert len(shown) == len(seen.json()["warnings"]) > 0
    assert max(map(len, shown)) <= 510
    answer = Response()
    add_warnings(answer, ["\u00e9" * 600])
    assert len(answer.headers["warning"]) == 508


def test_an_object_of_that_name_is_a_conflict(service: Service) -> None:
    service.ask("POST", PLACES[0], 201, json=manifest())
    assert slug(service.ask("POST", PLACES[0], 409, json=manifest())) == "conflict"
    service.ask("POST", PLACES[1], 201, json=manifest())


def test_an_idempotency_key_gives_the_same_object(service: Service) -> None:
    key = {"Idempotency-Key": "k"} | service.token()
    made = [
        service.ask("POST", PLACES[0], 201, as_role=None, headers=key, json=manifest()).json()
        for _ in range(2)
    ]
    assert made[0]["metadata"] == made[1]["metadata"]
    other = manifest(kind="Group", group="other")
    assert (
        slug(service.ask("POST", PLACES[0], 422, as_role=None, headers=key, json=other))
        == "idempotencyKeyReused"
    )


FAULTY = [
    ("kind: RenewRevocation", "kind: Revocation", ["/kind"]),
    ("  name: my-renew-revocation\n", "", ["/metadata/name"]),
    ("dns: .cluster.local", "dns: .cluster.local\n    ip: 10.0.0.1", ["/spec/revocations/3/ip"]),
    ("77fdf4b1033b387aaace6ce1c18710c2", "77fz", ["/spec/revocations/0/serialNumber"]),
    ("170.63.128.124", "170.63.128.324", ["/spec/revocations/4/ip"]),
    ("description: My list", "descriptoin: My list", ["/spec/descriptoin"]),
    ("2020-04-17T17:22:05Z", "2020-04-17", ["/spec/revocations/0/notBefore"]),
]


@pytest.mark.parametrize(("old", "new", "places"), FAULTY)
def test_a_malformed_manifest_is_refused_whole(
    service: Service, old: str, new: str, places: list[str]
) -> None:
    refused = service.ask("POST", PLACES[0], 422, headers=YAML, content=SAMPLE.replace(old, new))
    assert (slug(refused), pointers(refused)) == ("badRevocation", places)
    as_json = json.dumps(yaml.safe_load(SAMPLE.replace(old, new)))
    assert pointers(service.ask("POST", PLACES[0], 422, headers=JSON, content=as_json)) == places
    assert service.ask("GET", PLACES[0], 200).json()["items"] == []


def test_every_fault_has_its_pointer(service: Service) -> None:
    text = SAMPLE
    for old, new, _ in FAULTY:
        text = text.replace(old, new)
    refused = service.ask("POST", PLACES[0], 422, headers=YAML, content=text)
    assert set(pointers(refused)) == {place for _, _, places in FAULTY for place in places}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "just text",
        "- a list",
        "a: &a [1]\nb: *a",
        "a: 1\na: 2",
        "a: [",
        "{[]: 1}",
        "? {a: b}\n: c",
        "a: \x00",
        "--- 1\n--- 2",
        "!!python/object/apply:os.system ['true']",
        "a: !!binary gIGC",
        "[" * 100_000,
        "%YAML 3.0\n---\na: 1",
        "a: 2020-13-45",
        "<<: {a: 1}",
        "=: 1",
    ],
)
def test_whatever_is_sent_as_yaml_is_refused_in_order(service: Service, body: str) -> None:
    answer = service.client.post(f"/api/v1/{PLACES[0]}", headers=YAML | service.token(), content=body)
    assert answer.status_code in {400, 422}, answer.text
    check_problem(answer)


def test_the_guard_asks_for_the_preview_s_token(service: Service) -> None:
    authority = service.world.authority
    object.__setattr__(authority, "policy", Policy(lockout_guard=LockoutGuard.REFUSE))
    with service_over(service.world, WebOptions(burst=1000)) as guarded:
        refused = guarded.ask("POST", PLACES[0], 409, headers=YAML, content=SAMPLE)
        assert slug(refused) == "confirmationRequired"
        token = guarded.ask("POST", f"{PLACES[0]}?dryRun=All", 200, headers=YAML, content=SAMPLE).json()[
            "token"
        ]
        guarded.ask("POST", f"{PLACES[0]}?confirm={token}", 201, headers=YAML, content=SAMPLE)


def test_pages_are_linked(service: Service) -> None:
    for number in range(3):
        service.ask("POST", PLACES[0], 201, json=manifest() | {"metadata": {"name": f"object-{number}"}})
    first = service.ask("GET", f"{PLACES[0]}?limit=2", 200)
    link = first.headers["link"].removeprefix("<").removesuffix('>; rel="next"')
    second = service.ask("GET", link, 200)
    names = [item["metadata"]["name"] for page in (first, second) for item in page.json()["items"]]
    assert names == ["object-0", "object-1", "object-2"]
    assert "link" not in second.headers


def test_an_administrator_of_one_cluster_has_no_say_in_others(service: Service) -> None:
    blue = service.token(Role.ADMIN, "blue")
    service.ask("POST", PLACES[0], 201, as_role=None, headers=blue, json=manifest())
    for place in (
        "clusters/red/renew-revocations",
        "renew-revocations",
        "clusters/nowhere/renew-revocations",
    ):
        service.ask("POST", place, 403, as_role=None, headers=blue, json=manifest())
        service.ask("GET", place, 403, as_role=None, headers=blue)
    service.ask("POST", "clusters/nowhere/renew-revocations", 404, json=manifest())
