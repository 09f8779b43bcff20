"""Who submits certificate requests: as Kubernetes names them, and which requests are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.authority.access import Role
from trivet.authority.approval.bootstrap_requester import USER_PREFIX, groups_of
from trivet.pki.approval import Submitter, SubmitterKind
from trivet.pki.kubernetes import NODE_PREFIX
from trivet.pki.pem import from_der
from trivet.pki.subjects import names_of
from trivet.store.requests import Submitted

if TYPE_CHECKING:
    from trivet.authority.access import Requester

_AUTHENTICATED: Final = "system:authenticated"
_ROLE_GROUP: Final = "trivet:"


def submitted_by(requester: Requester) -> Submitted:
    """The requester as a request's spec has them, as Kubernetes does (registry/certificates/.../strategy.go)."""
    token, held = requester.bootstrap_token, requester.certificate
    if token is not None:
        groups = (*groups_of(token), _AUTHENTICATED)
        name = USER_PREFIX + token.id
        return Submitted(name, None, groups, {}, requester.name, bootstrap_token=token.id)
    if held is not None:
        names = names_of(from_der(held.der))
        groups = (*names.organizations, _AUTHENTICATED)
        return Submitted(names.common_name, None, groups, {}, requester.name, voucher_id=held.id)
    return Submitted(requester.name, None, (_ROLE_GROUP + requester.role, _AUTHENTICATED), {}, requester.name)


def only_own(requester: Requester) -> str | None:
    """The username whose requests alone the requester may see; None where they may see all."""
    if requester.role in {Role.HOLDER, Role.BOOTSTRAP}:
        return submitted_by(requester).username
    return None


def submitter_of(submitted: Submitted, bound_to: str | None) -> Submitter:
    """The submitter as the rules see them.

    Args:
        submitted: who it was.
        bound_to: the node that their bootstrap token is for, if any.
    """
    if submitted.bootstrap_token is not None:
        return Submitter(SubmitterKind.BOOTSTRAP, bound_to)
    if submitted.voucher_id is None:
        return Submitter(SubmitterKind.TOKEN)
    is_node = submitted.username.startswith(NODE_PREFIX)
    return Submitter(SubmitterKind.NODE, submitted.username.removeprefix(NODE_PREFIX) if is_node else None)
