from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.revoke import create_revocation, delete_revocation, replace_revocation
from trivet.pki.errors import AccessDeniedError, RejectedIdentifierError
from trivet.pki.kubernetes import PROFILES
from trivet.pki.manifest import MIRRORED_FROM, RenewRevocation
from trivet.pki.revocation import EntryKind

KUBELET = csr("system:node:node-1", ("system:nodes",))
MARK = {MIRRORED_FROM: "a cluster"}


@pytest.fixture
def signer(world: World) -> Requester:
    blue = world.issue().stored.cluster_id
    return Requester("token:signer", Role.SIGNER, blue)


def test_a_signer_gets_what_a_cluster_can_have_approved(world: World, signer: Requester) -> None:
    made = world.issue("kubelet-client", None, request=KUBELET, requester=signer)
    assert made.stored.requester == "token:signer"
    jane = csr("jane", ("team",))
    assert world.issue("kube-apiserver-client", None, request=jane, requester=signer).stored.node is None
    serving = csr("system:node:node-1", ("system:nodes",), ("node-1",))
    assert world.issue("kubelet-serving", None, request=serving, requester=signer).stored.node == "node-1"


@pytest.mark.parametrize(
    ("subject", "groups"), [("", ()), ("", ("system:nodes",)), ("system:node:node-1", ())]
)
def test_a_signer_gets_no_subject_that_the_request_does_not_state(
    world: World, signer: Requester, subject: str, groups: tuple[str, ...]
) -> None:
    request = csr(subject, groups)
    with pytest.raises(RejectedIdentifierError, match="exactly CN system:node:node-1 and O system:nodes"):
        world.issue("kubelet-client", "node-1", request=request, requester=signer)
    world.issue("kubelet-client", "node-1", request=request)  # an administrator may leave it to the profile


@pytest.mark.parametrize("profile", [name for name, one in PROFILES.items() if one.signer_name is None])
def test_a_signer_gets_no_certificate_of_a_profile_without_a_signer_name(
    world: World, signer: Requester, profile: str
) -> None:
    with pytest.raises(AccessDeniedError, match="no signerName"):
        world.issue(profile, requester=signer)


def mirrored(**members: object) -> RenewRevocation:
    made = renew_revocation(entry(EntryKind.GROUP, "team"), name="laptop")
    return replace(made, annotations=MARK, **members)  # type: ignore[arg-type]


def test_a_signer_writes_what_it_mirrored(world: World, signer: Requester) -> None:
    create_revocation(world.authority, signer, "blue", mirrored())
    replace_revocation(world.authority, signer, "blue", mirrored(description="found again"))
    gone = delete_revocation(world.authority, signer, "blue", "kube-system", "laptop")
    assert gone.description == "found again"


def test_a_signer_changes_no_revocation_that_somebody_else_made(world: World, signer: Requester) -> None:
    plain = replace(mirrored(), annotations={"another": "mark"})
    with pytest.raises(AccessDeniedError, match="not mirrored"):
        create_revocation(world.authority, signer, "blue", plain)
    create_revocation(world.authority, OPERATOR, "blue", plain)
    with pytest.raises(AccessDeniedError, match="not mirrored"):
        replace_revocation(world.authority, signer, "blue", mirrored())
    with pytest.raises(AccessDeniedError, match="not mirrored"):
        delete_revocation(world.authority, signer, "blue", "kube-system", "laptop")


def test_a_signer_cannot_take_the_mark_off(world: World, signer: Requester) -> None:
    create_revocation(world.authority, signer, "blue", mirrored())
    with pytest.raises(AccessDeniedError, match="not mirrored"):
        replace_revocation(world.authority, signer, "blue", replace(mirrored(), annotations={}))
