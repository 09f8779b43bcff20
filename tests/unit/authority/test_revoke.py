from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.clock import START
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.context import LockoutGuard, Policy
from trivet.authority.install import OPERATOR
from trivet.authority.preview import preview_revocation
from trivet.authority.record import list_changes
from trivet.authority.revocations.standing import get_revocation, list_revocations
from trivet.authority.revoke import (
    Revoked,
    create_revocation,
    delete_revocation,
    replace_revocation,
)
from trivet.pki.errors import (
    AccessDeniedError,
    ConfirmationRequiredError,
    ConflictError,
    IdempotencyError,
    NotFoundError,
    PreconditionError,
    RevokedError,
)
from trivet.pki.manifest import RenewRevocation
from trivet.pki.revocation import Entry, EntryKind
from trivet.store import clusters, revocations
from trivet.store.clusters import ALL_CLUSTERS

NODES = entry(EntryKind.GROUP, "system:nodes")
ONE = entry(EntryKind.COMMON_NAME, "system:node:node-1")
TWO = entry(EntryKind.COMMON_NAME, "system:node:node-2")
THREE = entry(EntryKind.COMMON_NAME, "system:node:node-3")


def _object(*entries: Entry, description: str = "") -> RenewRevocation:
    return renew_revocation(*entries, name="object", description=description)


def _create(world: World, *entries: Entry, cluster: str | None = "blue") -> Revoked:
    return create_revocation(world.authority, OPERATOR, cluster, _object(*entries))


def _replace(
    world: World, *entries: Entry, description: str = "", expected_version: int | None = None
) -> Revoked:
    wanted = _object(*entries, description=description)
    return replace_revocation(world.authority, OPERATOR, "blue", wanted, expected_version=expected_version)


def _version(world: World, cluster: str | None = "blue") -> int:
    with world.authority.database.read() as connection:
        scope = clusters.get(connection, cluster).id if cluster is not None else ALL_CLUSTERS
        return revocations.versions(connection, [scope])[scope]


class TestCreate:
    def test_an_object_stands_as_it_was_written(self, world: World) -> None:
        labels, annotations = {"team": "a"}, {"why": "é"}
        wanted = replace(_object(NODES, ONE, description="lost"), labels=labels, annotations=annotations)
        revoked = create_revocation(world.authority, Requester("token:1", Role.ADMIN), "blue", wanted)
        found = get_revocation(world.authority, OPERATOR, "blue", "kube-system", "object")
        assert found == revoked.revocation
        assert (found.version, found.created_by, found.created_at) == (1, "token:1", world.clock.now)
        assert (found.description, found.labels, found.annotations) == ("lost", labels, annotations)
        assert [standing.entry for standing in found.entries] == [NODES, ONE]
        assert {standing.object_name for standing in found.entries} == {"kube-system/object"}

    def test_a_certificate_that_two_entries_name_is_marked_once_by_the_first(self, world: World) -> None:
        issued = world.issue()
        revoked = _create(world, ONE, NODES)
        assert revoked.marked == 1
        assert world.stored(issued).revoked_by == revoked.revocation.entries[0].id
        assert world.stored(issued).revoked_at == world.clock.now

    def test_each_change_takes_the_next_version_of_its_scope_only(self, world: World) -> None:
        _create(world, NODES)
        _create(world, NODES, cluster=None)
        delete_revocation(world.authority, OPERATOR, None, "kube-system", "object")
        assert (_version(world), _version(world, None)) == (1, 2)

    def test_a_second_object_of_the_name_is_refused_and_changes_nothing(self, world: World) -> None:
        _create(world, ONE)
        issued = world.issue(node="node-2")
        with pytest.raises(ConflictError):
            _create(world, TWO)
        assert not world.is_revoked(issued)
        assert _version(world) == 1

    def test_the_name_is_free_in_another_scope_and_once_deleted(self, world: World) -> None:
        first = _create(world, ONE)
        _create(world, ONE, cluster=None)
        world.delete(first)
        assert _create(world, TWO).revocation.id != first.revocation.id

    def test_an_unknown_cluster_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            _create(world, NODES, cluster="green")

    def test_the_same_key_gives_the_same_object(self, world: World) -> None:
        def create(*entries: Entry) -> Revoked:
            return create_revocation(
                world.authority, OPERATOR, "blue", _object(*entries), idempotency_key="key"
            )

        first, second = create(ONE), create(ONE)
        assert second.revocation == first.revocation
        assert (first.replayed, second.replayed) == (False, True)
        with pytest.raises(IdempotencyError):
            create(TWO)
        world.delete(first)
        with pytest.raises(IdempotencyError, match="deleted since"):
            create(ONE)
        assert _create(world, ONE).revocation.id != first.revocation.id

    def test_the_key_of_a_refused_object_is_free_again(self, world: World) -> None:
        standing = _create(world, ONE)
        wanted = _object(TWO)
        with pytest.raises(ConflictError):
            create_revocation(world.authority, OPERATOR, "blue", wanted, idempotency_key="key")
        world.delete(standing)
        assert not create_revocation(
            world.authority, OPERATOR, "blue", wanted, idempotency_key="key"
        ).replayed


class TestReplace:
    def test_entries_that_stay_stand_without_a_gap_and_others_come_and_go(self, world: World) -> None:
        first = _create(world, ONE, TWO).revocation
        kept, removed = first.entries
        issued = world.issue(node="node-3")
        revoked = _replace(world, THREE, ONE)
        assert revoked.marked == 1
        assert world.is_revoked(issued)
        found = get_revocation(world.authority, OPERATOR, "blue", "kube-system", "object")
        assert found == revoked.revocation
        assert [standing.entry for standing in found.entries] == [THREE, ONE]
        assert found.entries[1] == replace(kept, position=1)
        assert found.version == 2
        with pytest.raises(RevokedError):
            world.issue(node="node-1")
        with pytest.raises(RevokedError):
            world.issue(node="node-3")
        assert not world.is_revoked(world.issue(node="node-2"))
        with world.authority.database.read() as connection:
            assert removed.id in revocations.entries_by_id(connection, [removed.id])

    def test_what_was_marked_stays_revoked_though_its_entry_goes(self, world: World) -> None:
        issued = world.issue(node="node-1")
        _create(world, ONE)
        _replace(world, TWO)
        assert world.is_revoked(issued)
        with pytest.raises(RevokedError):
            world.renew(issued.stored)
        world.issue(node="node-1")

    def test_the_same_again_changes_nothing(self, world: World) -> None:
        first = _create(world, ONE, TWO)
        records = len(list_changes(world.authority, OPERATOR, None, 100))
        again = _replace(world, ONE, TWO)
        assert again.revocation == first.revocation
        assert (again.marked, _version(world)) == (0, 1)
        assert len(list_changes(world.authority, OPERATOR, None, 100)) == records

    def test_a_new_description_changes_the_object_and_no_entry(self, world: World) -> None:
        _create(world, ONE)
        revoked = _replace(world, replace(ONE, description="why"), description="other")
        assert (revoked.revocation.version, revoked.marked, _version(world)) == (2, 0, 2)
        found = get_revocation(world.authority, OPERATOR, "blue", "kube-system", "object")
        assert (found.description, found.entries[0].entry.description) == ("other", "why")

    @pytest.mark.parametrize(
        ("changed", "stays"),
        [
            (replace(ONE, description="other"), True),
            (replace(ONE, value="system:node:node-9"), False),
            (replace(ONE, kind=EntryKind.GROUP), False),
            (replace(ONE, not_before=START), False),
        ],
        ids=["description", "value", "kind", "notBefore"],
    )
    def test_an_entry_is_told_by_what_it_revokes(self, world: World, changed: Entry, *, stays: bool) -> None:
        first = _create(world, ONE).revocation.entries[0]
        second = _replace(world, changed, description="x").revocation.entries[0]
        assert (second.id == first.id) is stays

    def test_widening_a_serial_to_its_lineage_marks_the_lineage(self, world: World) -> None:
        parent = world.issue()
        child = world.renew(parent.stored)
        _create(world, entry(EntryKind.SERIAL_NUMBER, parent.stored.serial, include_renewed=False))
        assert not world.is_revoked(child)
        revoked = _replace(world, entry(EntryKind.SERIAL_NUMBER, parent.stored.serial))
        assert revoked.marked == 1
        assert world.is_revoked(child)

    def test_a_new_cut_off_lets_new_ones_pass(self, world: World) -> None:
        _create(world, ONE)
        _replace(world, replace(ONE, not_before=world.clock.now))
        assert not world.is_revoked(world.issue(node="node-1"))

    def test_the_same_entry_twice_stands_twice_and_goes_one_by_one(self, world: World) -> None:
        first = _create(world, ONE, ONE).revocation
        second = _replace(world, ONE, description="x").revocation
        assert second.entries == (first.entries[0],)
        with pytest.raises(RevokedError):
            world.issue(node="node-1")

    def test_only_the_expected_version_is_replaced(self, world: World) -> None:
        _create(world, ONE)
        _replace(world, TWO, expected_version=1)
        with pytest.raises(PreconditionError, match="version 2"):
            _replace(world, THREE, expected_version=1)
        with pytest.raises(NotFoundError):
            replace_revocation(world.authority, OPERATOR, None, _object(ONE))


class TestDelete:
    def test_only_the_expected_version_is_deleted(self, world: World) -> None:
        _create(world, ONE)
        _replace(world, TWO)
        where = ("blue", "kube-system", "object")
        with pytest.raises(PreconditionError):
            delete_revocation(world.authority, OPERATOR, *where, expected_version=1)
        delete_revocation(world.authority, OPERATOR, *where, expected_version=2)
        for use_case in (delete_revocation, get_revocation):
            with pytest.raises(NotFoundError):
                use_case(world.authority, OPERATOR, *where)

    def test_a_deleted_object_is_no_longer_listed(self, world: World) -> None:
        revoked = [world.revoke(ONE, name=name) for name in ("b", "a", "c")]
        world.delete(revoked[0])
        found = list_revocations(world.authority, OPERATOR, "blue", None, 10)
        assert [one.name for one in found] == ["a", "c"]
        assert list_revocations(world.authority, OPERATOR, "blue", ("kube-system", "a"), 10) == found[1:]
        assert list_revocations(world.authority, OPERATOR, None, None, 10) == []


class TestPermission:
    @pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.HOLDER])
    def test_only_administrators_revoke(self, world: World, role: Role) -> None:
        _create(world, ONE)
        requester = Requester("token:1", role)
        with pytest.raises(AccessDeniedError):
            create_revocation(world.authority, requester, "blue", renew_revocation(ONE))
        with pytest.raises(AccessDeniedError):
            replace_revocation(world.authority, requester, "blue", _object(TWO))
        with pytest.raises(AccessDeniedError):
            delete_revocation(world.authority, requester, "blue", "kube-system", "object")

    def test_an_administrator_of_a_cluster_revokes_there_only(self, world: World) -> None:
        admin = world.admin_of(world.make_cluster("green"))
        create_revocation(world.authority, admin, "green", _object(ONE))
        for cluster in ("blue", None, "unknown"):
            with pytest.raises(AccessDeniedError):
                create_revocation(world.authority, admin, cluster, _object(ONE))


class TestGuard:
    LOCKS_OUT = entry(EntryKind.DNS, "kubernetes.default.svc")

    @pytest.fixture
    def guarded(self, world: World) -> World:
        policy = Policy(lockout_guard=LockoutGuard.REFUSE)
        return World(replace(world.authority, policy=policy), world.clock)

    def _token(self, world: World, *entries: Entry) -> str:
        return preview_revocation(world.authority, OPERATOR, "blue", _object(*entries)).outlook.token

    def _confirmed(self, world: World, token: str | None, *entries: Entry) -> Revoked:
        return create_revocation(world.authority, OPERATOR, "blue", _object(*entries), confirmation=token)

    def test_a_lock_out_is_accepted_with_warnings_by_default(self, world: World) -> None:
        assert any("apiserver" in warning for warning in _create(world, self.LOCKS_OUT).warnings)

    def test_a_lock_out_is_refused_where_the_operator_wants_it(self, guarded: World) -> None:
        api_server = guarded.issue("apiserver", "cp-1")
        with pytest.raises(ConfirmationRequiredError, match="apiserver"):
            self._confirmed(guarded, None, self.LOCKS_OUT)
        with pytest.raises(ConfirmationRequiredError):
            self._confirmed(guarded, "wrong", self.LOCKS_OUT)
        assert not guarded.is_revoked(api_server)
        assert _version(guarded) == 0

    def test_the_token_of_the_preview_confirms(self, guarded: World) -> None:
        revoked = self._confirmed(guarded, self._token(guarded, self.LOCKS_OUT), self.LOCKS_OUT)
        assert revoked.warnings

    def test_a_token_confirms_what_was_previewed_and_nothing_else(self, guarded: World) -> None:
        token = self._token(guarded, self.LOCKS_OUT)
        with pytest.raises(ConfirmationRequiredError):
            self._confirmed(guarded, token, self.LOCKS_OUT, NODES)
        with pytest.raises(ConfirmationRequiredError):
            create_revocation(guarded.authority, OPERATOR, None, _object(self.LOCKS_OUT), confirmation=token)

    def test_a_token_is_stale_once_the_set_has_changed(self, guarded: World) -> None:
        token = self._token(guarded, self.LOCKS_OUT)
        guarded.revoke(ONE)
        with pytest.raises(ConfirmationRequiredError, match="repeat the request with its new token"):
            self._confirmed(guarded, token, self.LOCKS_OUT)

    def test_what_locks_nobody_out_needs_no_confirmation(self, guarded: World) -> None:
        cut_off = guarded.clock.now - timedelta(hours=1)
        self._confirmed(guarded, None, NODES, replace(self.LOCKS_OUT, not_before=cut_off))

    def test_replacing_is_guarded_as_well(self, guarded: World) -> None:
        self._confirmed(guarded, None, ONE)
        wanted = _object(ONE, self.LOCKS_OUT)
        with pytest.raises(ConfirmationRequiredError):
            replace_revocation(guarded.authority, OPERATOR, "blue", wanted)
        token = self._token(guarded, ONE, self.LOCKS_OUT)
        replace_revocation(guarded.authority, OPERATOR, "blue", wanted, confirmation=token)


def test_every_change_leaves_its_audit_record(world: World) -> None:
    world.issue(node="node-1")
    world.clock.advance(seconds=1)
    admin = Requester("token:5", Role.ADMIN, request_id="r-1")
    create_revocation(world.authority, admin, "blue", _object(ONE))
    world.clock.advance(seconds=1)
    replace_revocation(world.authority, admin, "blue", _object(TWO))
    world.clock.advance(seconds=1)
    delete_revocation(world.authority, admin, "blue", "kube-system", "object")
    world.clock.advance(seconds=1)
    create_revocation(world.authority, admin, None, _object(ONE))
    changes = list_changes(world.authority, OPERATOR, None, 4)[::-1]
    assert [change.action for change in changes] == [
        "revocation.create",
        "revocation.replace",
        "revocation.delete",
        "revocation.create",
    ]
    assert [change.details["marked"] for change in changes] == [1, 0, 0, 0]
    assert [change.cluster_id is None for change in changes] == [False, False, False, True]
    assert {(change.requester, change.object, change.request_id) for change in changes} == {
        ("token:5", "kube-system/object", "r-1")
    }


def test_an_object_made_anew_does_not_show_the_version_of_the_one_before(world: World) -> None:
    first = world.revoke(entry(EntryKind.GROUP, "a"), name="again").revocation
    delete_revocation(world.authority, OPERATOR, "blue", first.namespace, first.name)
    world.revoke(entry(EntryKind.GROUP, "b"), name="again")
    with pytest.raises(PreconditionError):
        delete_revocation(
            world.authority, OPERATOR, "blue", first.namespace, first.name, expected_version=first.version
        )
