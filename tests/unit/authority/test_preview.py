from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.clock import START
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.preview import Preview, preview_revocation
from trivet.pki.errors import AccessDeniedError, NotFoundError
from trivet.pki.revocation import Entry, EntryKind

K = EntryKind
NODES = entry(K.GROUP, "system:nodes")


def _preview(world: World, *entries: Entry, cluster: str | None = "blue") -> Preview:
    return preview_revocation(world.authority, OPERATOR, cluster, renew_revocation(*entries, name="object"))


def test_a_preview_counts_what_it_would_hit_and_does_nothing(world: World) -> None:
    issued = [world.issue("kubelet-client", node) for node in ("n1", "n2", "n2")]
    issued.append(world.issue("kubelet-serving", "n1"))
    world.issue("admin", None)
    preview = _preview(world, NODES)
    assert preview.hits == [
        ("kubelet-client", "n1", 1),
        ("kubelet-client", "n2", 2),
        ("kubelet-serving", "n1", 1),
    ]
    assert preview.count == 4
    assert sorted(row.serial for row in preview.sample) == sorted(one.stored.serial for one in issued)
    assert not any(world.is_revoked(one) for one in issued)
    assert _preview(world, NODES) == preview


def test_a_preview_for_all_clusters_counts_in_all(world: World) -> None:
    world.make_cluster("green")
    for cluster in ("blue", "green"):
        world.issue(cluster=cluster)
    assert _preview(world, NODES, cluster=None).count == 2
    assert _preview(world, NODES).count == 1


def test_a_preview_says_what_it_would_ban_and_until_when(world: World) -> None:
    later, past = START + timedelta(hours=1), START
    preview = _preview(
        world,
        NODES,
        entry(K.DNS, ".x.example", later),
        entry(K.COMMON_NAME, "gone", past),
        entry(K.SERIAL_NUMBER, "ab"),
    )
    assert preview.banned == [
        "Group system:nodes, until the entry is deleted",
        "DNS .x.example, until 2026-11-24T13:00:00Z",
    ]


CONTROL_PLANE = [
    (entry(K.DNS, "kubernetes.default.svc"), "apiserver"),
    (entry(K.DNS, ".cluster.local"), "apiserver"),
    (entry(K.DNS, "api.blue.example"), "apiserver"),
    (entry(K.IP, "10.96.0.0/12"), "apiserver"),
    (entry(K.COMMON_NAME, "kube-apiserver"), "apiserver"),
    (entry(K.COMMON_NAME, "system:kube-scheduler"), "scheduler"),
    (entry(K.COMMON_NAME, "front-proxy-client"), "front-proxy-client"),
    (entry(K.COMMON_NAME, "kube-apiserver-etcd-client"), "apiserver-etcd-client"),
    (entry(K.GROUP, "kubeadm:cluster-admins"), "apiserver-kubelet-client"),
]


@pytest.mark.parametrize(
    ("wanted", "profile"), CONTROL_PLANE, ids=[f"{one.kind}-{one.value}" for one, _ in CONTROL_PLANE]
)
def test_a_ban_on_a_control_plane_is_a_lock_out_until_it_has_a_cut_off(
    world: World, wanted: Entry, profile: str
) -> None:
    preview = _preview(world, wanted)
    assert preview.locks_out
    assert f"no {profile} certificate could be issued or renewed in the cluster blue" in preview.warnings[0]
    harmless = _preview(world, entry(wanted.kind, wanted.value, START))
    assert (harmless.locks_out, harmless.warnings) == (False, [])


def test_a_ban_on_nodes_is_warned_of_and_no_lock_out(world: World) -> None:
    preview = _preview(world, NODES)
    assert not preview.locks_out
    assert any("no kubelet-client certificate" in warning for warning in preview.warnings)


def test_a_ban_that_hits_one_live_member_of_a_control_plane_is_a_lock_out(world: World) -> None:
    member = entry(K.DNS, "etcd-1.blue.example")
    assert _preview(world, member).warnings == []
    world.issue("etcd-peer", "etcd-1", hosts=("etcd-1.blue.example",))
    preview = _preview(world, member)
    assert preview.locks_out
    assert "some live etcd-peer certificates" in preview.warnings[0]


def test_a_ban_on_people_is_no_lock_out(world: World) -> None:
    world.issue("kube-apiserver-client", None)
    preview = _preview(world, entry(K.GROUP, "team"))
    assert (preview.count, preview.warnings, preview.locks_out) == (1, [], False)


def test_the_token_holds_for_this_object_and_this_state_of_the_set(world: World) -> None:
    token = _preview(world, NODES).token
    assert _preview(world, NODES).token == token
    assert _preview(world, entry(K.GROUP, "other")).token != token
    assert _preview(world, NODES, cluster=None).token != token
    world.revoke(entry(K.GROUP, "third"))
    assert _preview(world, NODES).token != token


def test_auditors_preview_and_issuers_do_not(world: World) -> None:
    wanted = renew_revocation(NODES)
    preview_revocation(world.authority, Requester("token:1", Role.AUDITOR), "blue", wanted)
    for role in (Role.ISSUER, Role.APPROVER, Role.HOLDER):
        with pytest.raises(AccessDeniedError):
            preview_revocation(world.authority, Requester("token:1", role), "blue", wanted)
    with pytest.raises(NotFoundError):
        preview_revocation(world.authority, OPERATOR, "green", wanted)


def test_the_warning_tells_the_way_out_that_there_is(world: World) -> None:
    stored = world.issue("scheduler", None).stored
    later = world.clock() + timedelta(days=1)
    cases = {
        Entry(
            EntryKind.COMMON_NAME, "system:kube-scheduler"
        ): "give the entry a notBefore to be able to repair",
        Entry(
            EntryKind.COMMON_NAME, "system:kube-scheduler", later
        ): f"ends this at {later:%Y-%m-%dT%H:%M:%SZ}",
        Entry(EntryKind.SERIAL_NUMBER, stored.serial): "an issuer can give their holders new ones",
    }
    for entry_, way_out in cases.items():
        seen = _preview(world, entry_)
        assert [way_out in warning for warning in seen.warnings] == [True]
        assert seen.locks_out is (entry_.kind is not EntryKind.SERIAL_NUMBER)
