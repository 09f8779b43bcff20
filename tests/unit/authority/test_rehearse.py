"""Looking ahead at a change: the same refusals as the change itself, and no change."""

from __future__ import annotations

import pytest
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.revocations.observe import view
from trivet.authority.revocations.rehearse import rehearse_creation, rehearse_deletion, rehearse_replacement
from trivet.pki.errors import AccessDeniedError, ConflictError, NotFoundError, PreconditionError
from trivet.pki.revocation import EntryKind

NODES = entry(EntryKind.GROUP, "system:nodes")
NOBODY = entry(EntryKind.GROUP, "nobody")
APPROVER = Requester("token:1", Role.APPROVER)


@pytest.fixture
def standing(world: World) -> World:
    world.make_cluster("red")
    world.revoke(NOBODY, name="one")
    return world


def test_who_may_not_preview_may_not_rehearse(standing: World) -> None:
    authority, wanted = standing.authority, renew_revocation(NODES, name="one")
    for rehearse in (rehearse_creation, rehearse_replacement):
        with pytest.raises(AccessDeniedError):
            rehearse(authority, APPROVER, "blue", wanted)
    with pytest.raises(AccessDeniedError):
        rehearse_deletion(authority, APPROVER, "blue", wanted.namespace, "one")


def test_a_rehearsal_warns_and_leaves_everything_as_it_is(standing: World) -> None:
    authority = standing.authority
    victim = standing.issue()
    before = view(authority, OPERATOR, "blue")
    made = rehearse_creation(authority, OPERATOR, "blue", renew_revocation(NODES, name="two"))
    changed = rehearse_replacement(authority, OPERATOR, "blue", renew_revocation(NODES, name="one"))
    gone = rehearse_deletion(authority, OPERATOR, "blue", "kube-system", "one")
    assert made.warnings
    assert changed.warnings
    assert (changed.revocation.name, gone.name) == ("one", "one")
    assert changed.revocation.manifest is not None
    assert changed.revocation.manifest.generation == 2
    assert view(authority, OPERATOR, "blue") == before
    assert not standing.is_revoked(victim)


def test_what_would_be_refused_is_refused(standing: World) -> None:
    authority, wanted = standing.authority, renew_revocation(NODES, name="one")
    with pytest.raises(ConflictError):
        rehearse_creation(authority, OPERATOR, "blue", wanted)
    with pytest.raises(PreconditionError):
        rehearse_replacement(authority, OPERATOR, "blue", wanted, expected_version=9)
    with pytest.raises(NotFoundError):
        rehearse_replacement(authority, OPERATOR, "red", wanted)
    with pytest.raises(NotFoundError):
        rehearse_deletion(authority, OPERATOR, "blue", "kube-system", "two")


def test_what_would_change_nothing_stays_at_its_version(standing: World) -> None:
    authority = standing.authority
    same = rehearse_replacement(authority, OPERATOR, "blue", renew_revocation(NOBODY, name="one"))
    assert (same.revocation.version, same.warnings) == (1, ())
