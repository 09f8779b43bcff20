"""One-time tokens: for a node whose certificates were revoked, so that its keys prove nothing any more."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from trivet.authority import once, record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.authenticate import REPAIR_PREFIX
from trivet.authority.renewals.identities import holdings
from trivet.pki.errors import ConflictError, Fault, InvalidError, NotFoundError
from trivet.pki.names import parse_node_name
from trivet.store import repair_tokens, repairs
from trivet.store.repair_tokens import RepairToken

if TYPE_CHECKING:
    from uuid import UUID

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.identities import CurrentCertificate

_SECRET_BITS: Final = 256


def create_repair_token(
    authority: Authority,
    requester: Requester,
    cluster: str,
    window_id: UUID,
    node: str,
    idempotency_key: str | None = None,
) -> tuple[RepairToken, str, tuple[CurrentCertificate, ...]]:
    """Make a one-time token; the second value is its secret, which cannot be had again, the third what it gives.

    Raises:
        NotFoundError: there is no such window, or the node held nothing that is kept.
        ConflictError: the window is over; or a token was made under this Idempotency-Key before.
        InvalidError: that is no node's name.
    """
    name = _node(node)
    secret = REPAIR_PREFIX + _base64url(authority.random_bits(_SECRET_BITS))
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_REPAIR, cluster, now)
        window = repairs.find(connection, found.id, window_id)
        if window is None:
            message = f"there is no repair window {window_id} of the cluster {found.name}"
            raise NotFoundError(message)
        if not window.is_open(now):
            message = f"the repair window {window_id} is over; open another: trivet repair {found.name}"
            raise ConflictError(message)
        held = holdings(connection, found.id, {name})
        current = (*held.waited_for, *held.others, *held.abandoned)
        if not current:
            message = (
                f"the node {name} of the cluster {found.name} held no certificate that is kept, so a one-time token"
                " would give it nothing; an issuer can give it certificates"
            )
            raise NotFoundError(message)
        token = RepairToken(authority.new_id(now), name, now, requester.name, window)
        asked = once.fingerprint("repair.token", cluster, window_id, name)
        earlier = once.take(connection, requester, idempotency_key, asked, str(token.id), now)
        if earlier is not None:
            message = f"the one-time token {earlier} was made under this Idempotency-Key; make another under a new one"
            raise ConflictError(message)
        repair_tokens.add(connection, token, authority.key_encryption_key.token_hash(secret))
        details = {"node": name, "token": str(token.id), "identities": len(current)}
        record.change(authority, connection, requester, "repair.token", str(window.id), found.id, details)
    return token, secret, current


def _node(text: str) -> str:
    try:
        return parse_node_name(text)
    except ValueError as error:
        raise InvalidError(str(error), Fault("/node", "must be the name of a node")) from error


def _base64url(bits: int) -> str:
    return base64.urlsafe_b64encode(bits.to_bytes(_SECRET_BITS // 8)).rstrip(b"=").decode()
