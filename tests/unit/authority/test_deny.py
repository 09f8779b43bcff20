from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from tests.support.world import World

from trivet.authority.access import Permission, Requester, Role
from trivet.authority.deny import require_or_record
from trivet.authority.install import OPERATOR
from trivet.authority.proof.explain import explain_decision
from trivet.pki.errors import AccessDeniedError

AUDITOR = Requester("token:auditor", Role.AUDITOR)


@pytest.mark.parametrize(("permission", "action"), [(Permission.ISSUE, "issue"), (Permission.RENEW, "renew")])
def test_a_wish_that_is_refused_at_the_door_leaves_its_decision_record(
    world: World, permission: Permission, action: str
) -> None:
    with pytest.raises(AccessDeniedError) as refused:
        require_or_record(world.authority, AUDITOR, permission, "blue", b"as it came")
    assert refused.value.decision is not None
    decision = explain_decision(world.authority, OPERATOR, UUID(refused.value.decision))
    assert (decision.action, decision.verdict, decision.reason) == (action, "refused", "unauthorized")
    assert (decision.requester, decision.request_sha256) == (
        AUDITOR.name,
        hashlib.sha256(b"as it came").hexdigest(),
    )


def test_other_refusals_at_the_door_are_no_decisions(world: World) -> None:
    with pytest.raises(AccessDeniedError) as refused:
        require_or_record(world.authority, AUDITOR, Permission.WRITE_TOKEN, None, b"")
    assert refused.value.decision is None
