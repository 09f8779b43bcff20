"""Bootstrap tokens: each lets new nodes of one cluster ask for their first certificate. Made once, shown once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority import once, record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.approval.submission import check_not_reserved
from trivet.pki.bootstrap import BootstrapToken, BootstrapUsage, check_groups
from trivet.pki.documents import MAX_TEXT
from trivet.pki.errors import ConflictError, Fault, InvalidError, NotFoundError, RejectedIdentifierError
from trivet.pki.names import is_plain, parse_node_name
from trivet.store import bootstrap_tokens
from trivet.store.bootstrap_tokens import StoredBootstrapToken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.clusters import Cluster

LIFETIME: Final = timedelta(hours=24)  # as kubeadm has it
LONGEST: Final = timedelta(days=366)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH = 6, 16
_SPARE_BITS: Final = (
    64  # by so much a number is longer than its digits, so that none of them is likelier than others
)


@dataclass(frozen=True, slots=True)
class WantedToken:
    """A token to make.

    Attributes:
        node: the one node that it is for; None for any.
        usages: what it is for.
        groups: beside `system:bootstrappers`.
        lifetime: how long it holds.
    """

    node: str | None = None
    usages: Sequence[BootstrapUsage] = (BootstrapUsage.AUTHENTICATION,)
    groups: Sequence[str] = ()
    description: str = ""
    lifetime: timedelta = LIFETIME


def create_bootstrap_token(
    authority: Authority,
    requester: Requester,
    cluster: str,
    wanted: WantedToken,
    idempotency_key: str | None = None,
) -> tuple[StoredBootstrapToken, str]:
    """Make a token; the second value is all of it, which cannot be had again.

    Raises:
        NotFoundError: there is no such cluster.
        ConflictError: one was made under this Idempotency-Key before; it cannot be shown again.
        InvalidError: a node, group, usage, lifetime or description is wrong.
    """
    groups = _checked(wanted)
    made = _new_token(authority)
    shown = f"{made.id}.{made.secret}"
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_BOOTSTRAP_TOKEN, cluster, now)
        _check_reserved(found, wanted.node)
        # As access tokens: what was stolen for its last minutes must not make itself a successor.
        expires_at = min(filter(None, (now + wanted.lifetime, requester.expires_at)))
        usages = tuple(dict.fromkeys(usage.value for usage in wanted.usages))
        token = StoredBootstrapToken(
            made.id,
            found.id,
            wanted.node,
            usages,
            groups,
            wanted.description,
            now,
            requester.name,
            expires_at,
        )
        asked = once.fingerprint("bootstrap-token.create", cluster, wanted)
        earlier = once.take(connection, requester, idempotency_key, asked, token.id, now)
        if earlier is not None:
            message = f"the bootstrap token {earlier} was made under this Idempotency-Key; delete it and make another"
            raise ConflictError(message)
        bootstrap_tokens.add(connection, token, authority.key_encryption_key.token_hash(shown))
        details = {"node": token.node, "expiresAt": expires_at.isoformat(), "groups": list(groups)}
        record.change(authority, connection, requester, "bootstrap-token.create", token.id, found.id, details)
    return token, shown


def _checked(wanted: WantedToken) -> tuple[str, ...]:
    faults = []
    if wanted.node is not None:
        try:
            parse_node_name(wanted.node)
        except ValueError as error:
            faults.append(Fault("/node", str(error)))
    if not wanted.usages:
        faults.append(Fault("/usages", f"must name one of {', '.join(BootstrapUsage)}"))
    if not timedelta(0) < wanted.lifetime <= LONGEST:
        faults.append(Fault("/expiresInSeconds", f"must be 1 to {LONGEST // timedelta(seconds=1)}"))
    if len(wanted.description) > MAX_TEXT or not is_plain(wanted.description):
        faults.append(Fault("/description", f"must be one line of at most {MAX_TEXT} characters"))
    if faults:
        message = f"the bootstrap token cannot be made: {faults[0].pointer[1:]} {faults[0].message}"
        raise InvalidError(message, *faults)
    return check_groups(wanted.groups)


def _check_reserved(cluster: Cluster, node: str | None) -> None:
    try:
        check_not_reserved(cluster, node or "")
    except RejectedIdentifierError as error:
        raise InvalidError(error.detail, Fault("/node", "must not be a name of the API server")) from error


def _new_token(authority: Authority) -> BootstrapToken:
    return BootstrapToken(*(_digits(authority, length) for length in (_ID_LENGTH, _SECRET_LENGTH)))


def _digits(authority: Authority, length: int) -> str:
    number = authority.random_bits(length * 6 + _SPARE_BITS)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def list_bootstrap_tokens(
    authority: Authority, requester: Requester, cluster: str, after: str | None, limit: int
) -> list[StoredBootstrapToken]:
    """The tokens of a cluster by their ids, expired ones too, without their secrets."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_BOOTSTRAP_TOKEN, cluster, now)
        return bootstrap_tokens.page(connection, found.id, after, limit)


def get_bootstrap_token(
    authority: Authority, requester: Requester, cluster: str, token_id: str
) -> StoredBootstrapToken:
    """One token, without its secret.

    Raises:
        NotFoundError: the cluster has none of that id.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_BOOTSTRAP_TOKEN, cluster, now)
        token = _find(connection, found.id, token_id)
    if token is None:
        raise _unknown()
    return token


def delete_bootstrap_token(authority: Authority, requester: Requester, cluster: str, token_id: str) -> None:
    """Make a token worthless from the next request on.

    Raises:
        NotFoundError: the cluster has none of that id.
    """
    with authority.database.write() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.WRITE_BOOTSTRAP_TOKEN, cluster, now)
        token = _find(connection, found.id, token_id)
        if token is None:
            raise _unknown()
        bootstrap_tokens.remove(connection, found.id, token.id)
        record.change(authority, connection, requester, "bootstrap-token.delete", token.id, found.id, {})


def _find(connection: Connection, cluster_id: UUID, token_id: str) -> StoredBootstrapToken | None:
    return bootstrap_tokens.find(connection, cluster_id, token_id) if is_plain(token_id) else None


def _unknown() -> NotFoundError:
    # Not quoted: somebody may take the whole token for its id.
    return NotFoundError(
        "this cluster has no such bootstrap token; its id is the six characters before the dot"
    )
