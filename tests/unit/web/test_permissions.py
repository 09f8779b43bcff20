"""Who may do what, for every operation of the OpenAPI document: the declared permission is the enforced one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import Clock
from tests.support.signing_requests import csr
from tests.support.world import World, make_authority
from tests.unit.web.service import PKCS10, Service, check_problem, service_over, slug

from trivet.authority.access import PERMISSIONS, TOKEN_ROLES, Permission, Role
from trivet.bootstrap.document import openapi_document
from trivet.web.rest.operation import PUBLIC

Operation = tuple[str, str, str, Permission | None]
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
VALUES = {"cluster": "blue", "authority": "etcd", "namespace": "kube-system"}
MANIFEST = {
    "apiVersion": "certificates.microsoft.com/v1",
    "kind": "RenewRevocation",
    # So that a signer may write it, too.
    "metadata": {"name": "nothing", "annotations": {"signer.trivet/mirrored-from": "here"}},
    "spec": {"revocations": [{"kind": "CommonName", "commonName": "nobody"}]},
}
# A body that is right, so that the use case is asked; every operation that takes one must be listed.
BODIES: dict[str, dict[str, Any]] = {
    "createCluster": {"json": {"name": "green", "endpoint": "api.green.example"}},
    "issueCertificate": {
        "content": csr("jane", key=3),
        "headers": PKCS10,
        "params": {"profile": "kube-apiserver-client"},
    },
    "renewCertificate": {"content": csr(key=3), "headers": PKCS10},
    "createRenewRevocation": {"json": MANIFEST},
    "replaceRenewRevocation": {"json": MANIFEST},
    "createGlobalRenewRevocation": {"json": MANIFEST},
    "replaceGlobalRenewRevocation": {"json": MANIFEST},
    "createToken": {"json": {"role": "auditor"}},
    "createEarlyRenewal": {"json": {"overSeconds": 60}},
    "createRepair": {"json": {"forSeconds": 60}},
    "createRepairSkip": {"json": {"stage": "etcd"}},
    "createRepairToken": {"json": {"node": "node-1"}},
    "renewInRepair": {"json": {"message": "nonsense"}},
    "createBootstrapToken": {"json": {"node": "node-1"}},
    "createCertificateRequest": {
        "content": csr(key=3),
        "headers": PKCS10,
        "params": {"profile": "scheduler"},
    },
    "approveCertificateRequest": {"json": {"reason": "as planned"}},
    "denyCertificateRequest": {"json": {}},
    "replaceInventoryNode": {"json": {"dnsNames": ["db.example"]}},
}
# What one of a cluster may do without naming a cluster; the answer holds what concerns that cluster only.
OF_ONES_OWN = {
    "listClusters",
    "listTokens",
    "getToken",
    "deleteToken",
    "listAuditRecords",
    "exportAudit",
    "getDecision",
}
# A role whose token is always of one cluster.
CONFINED = {Role.SIGNER}
BAD_TOKENS = {
    "malformed": "Bearer trivet_short",
    "unknown": "Bearer trivet_" + "A" * 43,
    "empty": "Bearer ",
    "another-scheme": "Basic dXNlcjpwYXNz",
    "no-scheme": "trivet_" + "A" * 43,
    "none": "",
}


@cache
def document() -> dict[str, Any]:
    import json  # noqa: PLC0415

    made: dict[str, Any] = json.loads(openapi_document())
    return made


def operations() -> list[Operation]:
    found = []
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            # What anybody may ask is tested with its own operation.
            if method in METHODS and operation.get("x-trivet-permission") != PUBLIC:
                declared = operation.get("x-trivet-permission")
                permission = Permission(declared) if declared in set(Permission) else None
                found.append((method.upper(), path, operation["operationId"], permission))
    return found


EVERY = pytest.mark.parametrize(
    ("method", "path", "name", "permission"), [pytest.param(*item, id=item[2]) for item in operations()]
)


def filled(path: str, **values: str) -> str:
    return path.format_map(_Unknown(VALUES | values))


class _Unknown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "nothing"


@pytest.fixture(scope="module")
def service(two_clusters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give one service for all: whatever is allowed here changes nothing that another test looks at."""
    path = tmp_path_factory.mktemp("permissions") / "trivet.db"
    path.write_bytes(two_clusters.read_bytes())
    clock = Clock()
    world = World(make_authority(f"sqlite:///{path}", clock), clock)
    with service_over(world) as service:
        yield service
    world.authority.database.dispose()


@pytest.fixture(scope="module")
def tokens(service: Service) -> dict[str, dict[str, str]]:
    """Give the header of a token of every role, in all clusters (where it may be) and in `red` alone."""
    widest = {role: service.token(role, "blue" if role in CONFINED else None) for role in TOKEN_ROLES}
    return widest | {f"{role}@red": service.token(role, "red") for role in TOKEN_ROLES}


def asked(service: Service, method: str, url: str, headers: dict[str, str], body: dict[str, Any]) -> Any:  # noqa: ANN401
    answer = service.client.request(
        method, url, **{**body, "headers": {**body.get("headers", {}), **headers}}
    )
    if answer.status_code >= 400:
        check_problem(answer)
    assert answer.status_code < 500, answer.text
    return answer


def test_every_operation_declares_its_permission_and_takes_a_known_body() -> None:
    assert [name for _, _, name, permission in operations() if permission is None] == []
    with_body = {
        operation["operationId"]
        for item in document()["paths"].values()
        for operation in item.values()
        if "requestBody" in operation
    }
    assert with_body == set(BODIES)
    assert {permission for _, _, _, permission in operations()} == set(Permission) - {
        Permission.PREVIEW_REVOCATION,
        Permission.READ_METRICS,  # not REST: it is Prometheus's
        Permission.REVIEW_ACCESS,  # nor this: it is kube-apiserver's
    }


@EVERY
@pytest.mark.parametrize("role", TOKEN_ROLES)
def test_a_role_may_do_what_the_table_says_and_learns_nothing_else(
    service: Service,
    tokens: dict[str, dict[str, str]],
    role: Role,
    method: str,
    path: str,
    name: str,
    permission: Permission,
) -> None:
    denied = permission not in PERMISSIONS[role]
    bodies = [BODIES.get(name, {}), {"content": b"nonsense", "headers": {"Content-Type": "text/plain"}}, {}]
    urls = [filled(path), filled(path) + "?limit=nonsense&dryRun=nonsense", filled(path, cluster="nowhere")]
    if role in CONFINED and not denied:
        # What is not of its cluster is refused to any role: see test_a_token_of_another_cluster_opens_nothing.
        urls = urls[:2] if "{cluster}" in path or name in OF_ONES_OWN else []
    for url in urls:
        for body in bodies:
            answer = asked(service, method, url, tokens[role], body)
            assert (answer.status_code == 403) == denied, answer.text
            if denied:
                assert slug(answer) == "unauthorized"
                assert answer.json()["detail"] == f"the role {role} lacks the permission {permission}"


@pytest.mark.parametrize("role", TOKEN_ROLES)
def test_a_preview_has_a_permission_of_its_own(
    service: Service, tokens: dict[str, dict[str, str]], role: Role
) -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            if declared := operation.get("x-trivet-permission-dry-run"):
                url = filled(path) + "?dryRun=All"
                answer = asked(service, method, url, tokens[role], BODIES[operation["operationId"]])
                allowed = declared in PERMISSIONS[role] and (role not in CONFINED or "{cluster}" in path)
                assert answer.status_code == (200 if allowed else 403), answer.text


@EVERY
@pytest.mark.parametrize("role", TOKEN_ROLES)
def test_a_token_of_another_cluster_opens_nothing(
    service: Service,
    tokens: dict[str, dict[str, str]],
    role: Role,
    method: str,
    path: str,
    name: str,
    permission: Permission,
) -> None:
    for cluster in ("blue", "nowhere"):
        answer = asked(
            service, method, filled(path, cluster=cluster), tokens[f"{role}@red"], BODIES.get(name, {})
        )
        if permission in PERMISSIONS[role] and name in OF_ONES_OWN:
            assert answer.status_code in {200, 404}
            assert '"blue"' not in answer.text
        else:
            assert answer.status_code == 403, answer.text


@EVERY
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_who_is_not_known_gets_401(
    service: Service, kind: str, method: str, path: str, name: str, permission: Permission
) -> None:
    del permission
    shown = {"Authorization": BAD_TOKENS[kind]} if kind != "none" else {}
    for body in (BODIES.get(name, {}), {"content": b"nonsense"}):
        for url in (filled(path), filled(path, cluster="nowhere")):
            assert asked(service, method, url, shown, body).status_code == 401


@EVERY
def test_an_expired_token_gets_401(
    service: Service, method: str, path: str, name: str, permission: Permission
) -> None:
    del permission
    shown = service.token(Role.ADMIN, lifetime=timedelta(microseconds=1))
    before = service.world.clock.now
    service.world.clock.advance(seconds=1)
    try:
        assert asked(service, method, filled(path), shown, BODIES.get(name, {})).status_code == 401
    finally:
        service.world.clock.now = before


@EVERY
@pytest.mark.parametrize("cluster", ["blue", "red"])
def test_a_certificate_s_holder_may_do_what_the_table_says_in_their_cluster(
    service: Service, cluster: str, method: str, path: str, name: str, permission: Permission
) -> None:
    held = service.world.issue(node="node-7", cluster="red").stored
    body = BODIES.get(name, {})
    with service.presenting(held):
        answer = asked(service, method, filled(path, cluster=cluster, serial=held.serial), {}, body)
    allowed = permission in PERMISSIONS[Role.HOLDER] and (cluster == "red" or "{cluster}" not in path)
    # A node may not search, nor ask for another profile than a kubelet's.
    allowed = allowed and name not in {"listCertificates", "issueCertificate", "createCertificateRequest"}
    assert (answer.status_code == 403) == (not allowed), answer.text


@EVERY
def test_a_holder_lacks_permissions_before_anything_is_read(
    service: Service, method: str, path: str, name: str, permission: Permission
) -> None:
    del name
    held = service.world.issue(node="node-8", cluster="blue").stored
    with service.presenting(held):
        answer = asked(service, method, filled(path) + "?limit=x", {}, {"content": b"nonsense"})
    if permission not in PERMISSIONS[Role.HOLDER]:
        assert answer.status_code == 403
        assert "lacks the permission" in answer.json()["detail"]
