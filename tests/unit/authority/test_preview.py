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
    assert [(hit.cluster, hit.profile, hit.node, hit.count) for hit in preview.hits] == [
        ("blue", "kubelet-client", "n1", 1),
        ("blue", "kubelet-client", "n2", 2),
        ("blue", "kubelet-serving", "n1", 1),
    ]
    assert [(total.profile, total.count, total.nodes) for total in preview.profiles] == [
        ("kubelet-client", 3, 2),
        ("kubelet-serving", 1, 1),
    ]
    assert (preview.has_more_hits, preview.by_lineage) == (False, 0)
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
    assert preview.outlook.locks_out
    told = f"of the cluster blue could not renew: no {profile} certificate could be issued"
    assert told in preview.outlook.warnings[0]
    harmless = _preview(world, entry(wanted.kind, wanted.value, START))
    assert (harmless.outlook.locks_out, harmless.outlook.warnings) == (False, [])


def test_a_ban_on_nodes_is_warned_of_and_no_lock_out(world: World) -> None:
    preview = _preview(world, NODES)
    assert not preview.outlook.locks_out
    assert any("no kubelet-client certificate" in warning for warning in preview.outlook.warnings)


def test_a_ban_that_hits_one_live_member_of_a_control_plane_is_a_lock_out(world: World) -> None:
    member = entry(K.DNS, "etcd-1.blue.example")
    assert _preview(world, member).outlook.warnings == []
    world.issue("etcd-peer", "etcd-1", hosts=("etcd-1.blue.example",))
    preview = _preview(world, member)
    assert preview.outlook.locks_out
    (warning,) = preview.outlook.warnings
    assert warning == (
        "node etcd-1 of the cluster blue could not renew its etcd-peer certificate before it expires at"
        " 2026-11-28T11:55:00Z, because of DNS etcd-1.blue.example; give the entry a notBefore to be able to repair"
    )


def test_a_ban_on_people_is_no_lock_out(world: World) -> None:
    world.issue("kube-apiserver-client", None)
    preview = _preview(world, entry(K.GROUP, "team"))
    assert (preview.count, preview.outlook.warnings, preview.outlook.locks_out) == (1, [], False)


def test_the_token_holds_for_this_object_and_this_state_of_the_set(world: World) -> None:
    token = _preview(world, NODES).outlook.token
    assert _preview(world, NODES).outlook.token == token
    assert _preview(world, entry(K.GROUP, "other")).outlook.token != token
    assert _preview(world, NODES, cluster=None).outlook.token != token
    world.revoke(entry(K.GROUP, "third"))
    assert _preview(world, NODES).outlook.token != token


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
        entry(K.COMMON_NAME, "system:kube-scheduler"): "give the entry a notBefore to be able to repair",
        entry(K.COMMON_NAME, "system:kube-scheduler", later): f"ends this at {later:%Y-%m-%dT%H:%M:%SZ}",
        entry(K.COMMON_NAME, "system:kube-scheduler", later - timedelta(days=2)): "",
        entry(K.SERIAL_NUMBER, stored.serial): "gives its holder a new one",
        entry(K.PUBLIC_KEY, stored.spki_sha256): "gives its holder a new one",
        entry(K.SERIAL_NUMBER, stored.serial, later): "gives its holder a new one",
    }
    for wanted, way_out in cases.items():
        outlook = _preview(world, wanted).outlook
        assert [way_out in warning for warning in outlook.warnings] == [True] * bool(way_out)
        assert outlook.locks_out is (wanted.kind is K.COMMON_NAME and bool(way_out))


def test_a_lock_out_tells_how_much_time_is_left(world: World) -> None:
    world.issue("apiserver", "cp-1", lifetime=timedelta(days=2))
    ban = entry(K.DNS, "kubernetes.default.svc")
    (finding,) = _preview(world, ban).outlook.findings
    assert finding.detail == (
        "the API server of the cluster blue could not renew before its certificate expires at 2026-11-26T11:55:00Z:"
        " no apiserver certificate could be issued, because of DNS kubernetes.default.svc;"
        " give the entry a notBefore to be able to repair"
    )
    assert (finding.certificates, finding.first_end) == (
        1,
        START.replace(day=26, hour=11, minute=55, microsecond=0),
    )
    world.issue("apiserver", "cp-2", lifetime=timedelta(days=1))
    (finding,) = _preview(world, ban).outlook.findings
    assert "before the first of 2 expires at 2026-11-25T11:55:00Z" in finding.detail


def test_what_is_revoked_cannot_renew_though_no_new_certificate_is_banned(world: World) -> None:
    for node in ("worker-3", "worker-1", "worker-2"):
        world.issue("kubelet-client", node)
    world.clock.advance(hours=1)
    (finding,) = _preview(world, entry(K.GROUP, "system:nodes", world.clock())).outlook.findings
    assert finding.nodes == ("worker-1", "worker-2", "worker-3")
    assert not finding.locks_out
    assert finding.detail == (
        "nodes worker-1, worker-2, worker-3 of the cluster blue could not renew 3 kubelet-client certificates before"
        " the first of 3 expires at 2026-11-28T11:55:00Z, because it would be revoked; an issuer, or a one-time token"
        " of a repair, gives its holder a new one"
    )
    (finding,) = _preview(world, entry(K.COMMON_NAME, "system:node:worker-3")).outlook.findings
    assert (
        "node worker-3 of the cluster blue could not renew its kubelet-client certificate" in finding.detail
    )
    assert "because of CommonName system:node:worker-3" in finding.detail


def test_many_nodes_are_counted_and_a_few_named(world: World) -> None:
    for number in range(12):
        world.issue("kubelet-serving", f"n{number:02}", hosts=(f"n{number:02}.lab.example",))
    (finding,) = _preview(world, entry(K.DNS, ".lab.example")).outlook.findings
    assert finding.nodes == tuple(f"n{number:02}" for number in range(10))
    assert "n09 and 2 more of the cluster blue" in finding.detail


def test_of_several_entries_those_are_named_that_lock_out(world: World) -> None:
    world.issue("etcd-peer", "etcd-1", hosts=("etcd-1.blue.example", "192.0.2.1"))
    later = world.clock() + timedelta(days=1)
    wanted = (entry(K.IP, "192.0.2.0/24", later), entry(K.DNS, "other.example"), entry(K.GROUP, "team"))
    (finding,) = _preview(world, *wanted).outlook.findings
    assert finding.locks_out
    assert "because of IP 192.0.2.0/24; the entry's notBefore ends this" in finding.detail
    # One holder is banned, the other only revoked: each is told of apart.
    held = world.issue("etcd-peer", "etcd-2", hosts=("etcd-2.blue.example",)).stored
    findings = _preview(world, *wanted, entry(K.SERIAL_NUMBER, held.serial)).outlook.findings
    assert [(finding.nodes, finding.locks_out) for finding in findings] == [
        (("etcd-1",), True),
        (("etcd-2",), False),
    ]


def test_where_all_clusters_are_meant_nodes_are_named_with_theirs(world: World) -> None:
    world.make_cluster("green")
    world.issue("etcd-peer", "etcd-1", hosts=("etcd-1.green.example",), cluster="green")
    preview = _preview(world, entry(K.DNS, "etcd-1.green.example"), cluster=None)
    assert preview.outlook.findings[0].nodes == ("etcd-1 (green)",)
    assert preview.hits[0].cluster == "green"


def test_what_is_hit_by_lineage_is_counted_apart(world: World) -> None:
    parent = world.issue().stored
    child = world.renew(parent).stored
    world.renew(child, key=2)
    assert _preview(world, entry(K.SERIAL_NUMBER, parent.serial)).by_lineage == 2
    assert _preview(world, entry(K.SERIAL_NUMBER, child.serial)).by_lineage == 1
    alone = entry(K.SERIAL_NUMBER, parent.serial, include_renewed=False)
    assert (_preview(world, alone).by_lineage, _preview(world, alone).count) == (0, 1)
    # Named by its own serial, or by another entry as well: not by lineage alone.
    both = (entry(K.SERIAL_NUMBER, parent.serial), entry(K.SERIAL_NUMBER, child.serial))
    assert (_preview(world, *both).by_lineage, _preview(world, *both).count) == (1, 3)
    assert _preview(world, both[0], NODES).by_lineage == 0


def test_the_token_is_stale_once_somebody_else_would_be_locked_out(world: World) -> None:
    ban = entry(K.DNS, ".blue.example")
    world.issue("etcd-peer", "etcd-1", hosts=("etcd-1.blue.example",))
    token = _preview(world, ban).outlook.token
    world.issue("kubelet-serving", "n1", hosts=("n1.blue.example",))
    assert _preview(world, ban).outlook.token == token
    world.issue("etcd-peer", "etcd-2", hosts=("etcd-2.blue.example",))
    assert _preview(world, ban).outlook.token != token


def test_a_preview_lists_so_many_nodes_and_counts_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.authority.preview.MOST_HITS", 2)
    for node in ("n1", "n2", "n3"):
        world.issue("kubelet-client", node)
    preview = _preview(world, NODES)
    assert [hit.node for hit in preview.hits] == ["n1", "n2"]
    assert (preview.has_more_hits, preview.count) == (True, 3)
