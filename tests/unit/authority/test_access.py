from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import CLUSTER_NAMES, World
from tests.unit.pki import samples

from trivet.authority.access import PERMISSIONS, Permission, Requester, Role, authorize
from trivet.authority.create import create_cluster
from trivet.authority.holders import authenticate_certificate
from trivet.authority.install import issue_service_certificate
from trivet.authority.proof.explain import explain_certificate
from trivet.authority.record import list_changes
from trivet.authority.revocations.standing import get_revocation, list_revocations
from trivet.authority.search import (
    Search,
    get_certificate,
    get_cluster,
    list_clusters,
    list_generations,
    search_certificates,
)
from trivet.authority.tokens import create_token, list_tokens
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    ExpiredError,
    NotFoundError,
    RejectedIdentifierError,
    RevokedError,
)
from trivet.pki.pem import from_der
from trivet.pki.revocation import EntryKind
from trivet.pki.roots import root_builder, root_validity

ALLOWED = {
    Permission.CREATE_CLUSTER: {Role.ADMIN},
    Permission.READ_CLUSTER: set(Role) - {Role.REPAIR, Role.BOOTSTRAP, Role.APPROVED},
    Permission.ISSUE: {Role.ADMIN, Role.ISSUER, Role.SIGNER, Role.HOLDER, Role.REPAIR, Role.APPROVED},
    Permission.RENEW: {Role.HOLDER},
    Permission.READ_CERTIFICATE: set(Role) - {Role.REPAIR, Role.BOOTSTRAP, Role.APPROVED, Role.SIGNER},
    Permission.READ_DECISION: {Role.ADMIN, Role.APPROVER, Role.AUDITOR},
    Permission.WRITE_REVOCATION: {Role.ADMIN, Role.SIGNER},
    Permission.PREVIEW_REVOCATION: {Role.ADMIN, Role.AUDITOR, Role.SIGNER},
    Permission.READ_REVOCATION: {Role.ADMIN, Role.APPROVER, Role.AUDITOR, Role.SIGNER},
    Permission.WRITE_TOKEN: {Role.ADMIN},
    Permission.READ_TOKEN: {Role.ADMIN, Role.AUDITOR},
    Permission.READ_AUDIT: {Role.ADMIN, Role.AUDITOR},
    Permission.READ_METRICS: {Role.ADMIN, Role.AUDITOR},
    Permission.WRITE_REPAIR: {Role.ADMIN},
    Permission.READ_REPAIR: {Role.ADMIN, Role.APPROVER, Role.AUDITOR},
    Permission.ASK_RENEWAL: {Role.ADMIN},
    Permission.SUBMIT_REQUEST: {Role.ADMIN, Role.ISSUER, Role.HOLDER, Role.BOOTSTRAP},
    Permission.READ_REQUEST: set(Role) - {Role.REPAIR, Role.APPROVED, Role.SIGNER},
    Permission.DECIDE_REQUEST: {Role.ADMIN, Role.APPROVER},
    Permission.DELETE_REQUEST: {Role.ADMIN},
    Permission.WRITE_BOOTSTRAP_TOKEN: {Role.ADMIN},
    Permission.READ_BOOTSTRAP_TOKEN: {Role.ADMIN, Role.AUDITOR},
    Permission.WRITE_INVENTORY: {Role.ADMIN},
    Permission.READ_INVENTORY: {Role.ADMIN, Role.APPROVER, Role.AUDITOR},
    Permission.REVIEW_ACCESS: {Role.ADMIN, Role.AUDITOR, Role.HOLDER},
}


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_the_table_says(world: World, role: Role, permission: Permission) -> None:
    may = role in ALLOWED[permission]
    assert (permission in PERMISSIONS[role]) is may
    requester = Requester("x", role)
    if may:
        authorize(requester, permission, None, world.clock.now)
    else:
        with pytest.raises(AccessDeniedError):
            authorize(requester, permission, None, world.clock.now)


def test_whoever_belongs_to_one_cluster_has_no_permission_elsewhere(world: World) -> None:
    blue, green = world.issue().stored.cluster_id, world.make_cluster("green").id
    for role in Role:
        requester = Requester("x", role, blue)
        for permission in PERMISSIONS[role]:
            authorize(requester, permission, blue, world.clock.now)
            for elsewhere in (green, None):
                with pytest.raises(AccessDeniedError):
                    authorize(requester, permission, elsewhere, world.clock.now)


READS: dict[str, Callable[[World, Requester, str], object]] = {
    "cluster": lambda w, r, c: get_cluster(w.authority, r, c),
    "generations": lambda w, r, c: list_generations(w.authority, r, c),
    "certificate": lambda w, r, c: get_certificate(w.authority, r, c, "ab"),
    "search": lambda w, r, c: search_certificates(w.authority, r, c, Search(), None, 10),
    "explain": lambda w, r, c: explain_certificate(w.authority, r, c, "ab"),
    "revocation": lambda w, r, c: get_revocation(w.authority, r, c, "kube-system", "x"),
    "revocations": lambda w, r, c: list_revocations(w.authority, r, c, None, 10),
    "token": lambda w, r, c: create_token(w.authority, r, role=Role.ISSUER, cluster=c),
    "issue": lambda w, r, c: w.issue(cluster=c, requester=r),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_whoever_belongs_to_one_cluster_learns_nothing_of_the_names_of_others(
    world: World, read: Callable[[World, Requester, str], object]
) -> None:
    admin = world.admin_of(world.make_cluster("green"))
    details = []
    for cluster in ("blue", "unknown"):
        with pytest.raises(AccessDeniedError) as caught:
            read(world, admin, cluster)
        details.append(caught.value.detail)
    assert details[0] == details[1]


def test_lists_show_whoever_belongs_to_one_cluster_that_one(world: World) -> None:
    green = world.make_cluster("green")
    admin = world.admin_of(green)
    assert list_clusters(world.authority, admin, None, 10) == [green]
    assert {change.cluster_id for change in list_changes(world.authority, admin, None, 10)} == {green.id}
    token, _ = create_token(world.authority, admin, role=Role.ISSUER, cluster="green")
    create_token(world.authority, world.admin_of(green, Role.ADMIN), role=Role.ISSUER, cluster="green")
    assert token in list_tokens(world.authority, admin, None, 10)
    assert all(one.cluster_id == green.id for one in list_tokens(world.authority, admin, None, 10))


class TestHolder:
    """What a node may do with its kubelet client certificate."""

    @pytest.fixture
    def node(self, world: World) -> Requester:
        return world.holder(world.issue("kubelet-client", "node-1").stored)

    def test_it_is_named_after_its_certificate_and_its_node(self, node: Requester) -> None:
        assert node.certificate is not None
        assert node.name == f"certificate:{node.certificate.serial} (system:node:node-1)"
        assert (node.role, node.node, node.cluster_id) == (Role.HOLDER, "node-1", node.certificate.cluster_id)

    @pytest.mark.parametrize(("profile", "hosts"), [("kubelet-client", ()), ("kubelet-serving", ("node-1",))])
    def test_it_asks_for_its_own_names(
        self, world: World, node: Requester, profile: str, hosts: tuple[str, ...]
    ) -> None:
        assert world.issue(profile, "node-1", hosts=hosts, key=1, requester=node).stored.node == "node-1"

    @pytest.mark.parametrize("profile", ["kubelet-client", "kubelet-serving"])
    @pytest.mark.parametrize("other", ["node-2", "node-10", "node-1.example"])
    def test_it_cannot_ask_for_another_nodes_names(
        self, world: World, node: Requester, profile: str, other: str
    ) -> None:
        with pytest.raises(RejectedIdentifierError):
            world.issue(profile, other, key=1, requester=node)

    @pytest.mark.parametrize(
        "hosts", [("node-2",), ("node-1", "node-2"), ("node-1", "10.0.0.1"), ("10.0.0.1",)]
    )
    def test_it_cannot_ask_for_other_hosts(
        self, world: World, node: Requester, hosts: tuple[str, ...]
    ) -> None:
        with pytest.raises(RejectedIdentifierError):
            world.issue("kubelet-serving", "node-1", hosts=hosts, key=1, requester=node)

    @pytest.mark.parametrize(
        "profile", ["admin", "apiserver", "etcd-peer", "kube-apiserver-client", "scheduler"]
    )
    def test_it_cannot_ask_for_another_profile(self, world: World, node: Requester, profile: str) -> None:
        with pytest.raises(AccessDeniedError):
            world.issue(profile, "node-1", key=1, requester=node)

    @pytest.mark.parametrize("profile", ["admin", "kubelet-serving", "etcd-peer", "controller-manager"])
    def test_only_a_kubelet_client_certificate_makes_a_node(self, world: World, profile: str) -> None:
        other = world.holder(world.issue(profile, "node-1").stored)
        assert other.node is None
        with pytest.raises(AccessDeniedError):
            world.issue("kubelet-client", "node-1", requester=other)

    def test_it_asks_in_its_own_cluster_only(self, world: World, node: Requester) -> None:
        world.make_cluster("green")
        with pytest.raises(AccessDeniedError):
            world.issue("kubelet-client", "node-1", cluster="green", requester=node)

    def test_it_can_ask_for_nothing_once_it_is_revoked_or_expired(
        self, world: World, node: Requester
    ) -> None:
        assert node.certificate is not None
        issued = node.certificate
        world.clock.advance(days=5)
        for ask in (
            lambda: world.issue("kubelet-client", "node-1", key=1, requester=node),
            lambda: get_certificate(world.authority, node, "blue", issued.serial),
        ):
            with pytest.raises(ExpiredError, match="can give this holder a new certificate"):
                ask()
        world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.serial))
        with pytest.raises(RevokedError):
            world.issue("kubelet-client", "node-1", key=1, requester=world.holder(issued))

    def test_it_reads_its_own_certificate_and_no_other(self, world: World, node: Requester) -> None:
        assert node.certificate is not None
        other = world.issue(node="node-2").stored
        own = get_certificate(world.authority, node, "blue", node.certificate.serial)
        assert own == node.certificate
        with pytest.raises(NotFoundError):
            get_certificate(world.authority, node, "blue", other.serial)
        with pytest.raises(AccessDeniedError):
            search_certificates(world.authority, node, "blue", Search(), None, 10)


def test_a_certificate_that_trivet_did_not_issue_is_nobodys(world: World) -> None:
    with pytest.raises(AuthenticationError):
        authenticate_certificate(world.authority, from_der(world.issue().issuer))


def test_a_certificate_with_a_serial_of_ours_and_other_bytes_is_nobodys(world: World) -> None:
    issued = from_der(world.issue().stored.der)
    forged = samples.sign(
        root_builder(
            issued.subject,
            samples.private_key("P-384").public_key(),
            issued.serial_number,  # type: ignore[arg-type]
            root_validity(world.clock.now),
        ),
        samples.private_key("P-384"),
    )
    with pytest.raises(AuthenticationError):
        authenticate_certificate(world.authority, forged)


def test_trivets_own_https_certificate_authenticates_nobody(world: World) -> None:
    own = issue_service_certificate(world.authority, csr(hosts=("localhost",)))
    with pytest.raises(AuthenticationError):
        authenticate_certificate(world.authority, from_der(own.stored.der))


def test_only_administrators_of_all_clusters_make_clusters(world: World) -> None:
    for requester in (Requester("x", Role.ISSUER), world.admin_of(world.make_cluster("green"))):
        with pytest.raises(AccessDeniedError):
            create_cluster(world.authority, requester, "red", CLUSTER_NAMES)
