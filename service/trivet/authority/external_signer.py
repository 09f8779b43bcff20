"""What a living cluster's external signer (`trivet signer`) may do with its permissions, and what not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.access import Role
from trivet.pki.errors import AccessDeniedError, RejectedIdentifierError
from trivet.pki.manifest import MIRRORED_FROM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.authority.access import Requester
    from trivet.pki.names import Names
    from trivet.pki.profiles import Profile


def check_signer(requester: Requester, profile: Profile, granted: Names, asked: Names) -> None:
    """Hold a cluster's signer to what that cluster approved: the subject of the request itself, nothing filled in.

    Args:
        requester: who asks.
        profile: for which.
        granted: the names that the profile would give.
        asked: the names that the request states.

    Raises:
        AccessDeniedError: the profile has no signerName, so no cluster can have approved it.
        RejectedIdentifierError: the request leaves out a part of the subject.
    """
    if requester.role is not Role.SIGNER:
        return
    if profile.signer_name is None:
        message = f"a signer may not ask for the profile {profile.name}, which has no signerName"
        raise AccessDeniedError(message)
    subject = (granted.common_name, granted.organizations)
    if (asked.common_name, asked.organizations) != subject:
        wanted = " and ".join((f"CN {subject[0]}", *(f"O {group}" for group in subject[1])))
        message = f"the subject must be exactly {wanted}"
        raise RejectedIdentifierError(message)


def check_mirrored(requester: Requester, *annotations: Mapping[str, str]) -> None:
    """Hold a cluster's signer to the revocations that it mirrored; all else is others' to change.

    Args:
        requester: who asks.
        annotations: of the object as it stands, and of what is to stand in its place.

    Raises:
        AccessDeniedError: one of them is not marked as mirrored.
    """
    if requester.role is not Role.SIGNER or all(MIRRORED_FROM in held for held in annotations):
        return
    message = (
        f"a signer may write revocations with the annotation {MIRRORED_FROM} only; this one was not mirrored"
    )
    raise AccessDeniedError(message)
