"""Look at certificate requests, and remove them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import Permission, authorized_cluster
from trivet.authority.approval.images import log_changes
from trivet.authority.approval.person import only_own
from trivet.pki.errors import Fault, InvalidError, NotFoundError, PreconditionError
from trivet.pki.kubernetes import PROFILES
from trivet.pki.names import is_plain
from trivet.store import authorities, certificates, counters, requests
from trivet.store.changes import ChangeKind
from trivet.store.requests import RequestFilter, RequestState, StoredRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster


def filter_of(
    state: str | None, profile: str | None, node: str | None, username: str | None
) -> RequestFilter:
    """What to list, as it was asked for.

    Raises:
        InvalidError: there is no such state or profile, or a text cannot be searched for.
    """
    for field, value, choices in (
        ("state", state, tuple(RequestState)),
        ("profile", profile, tuple(PROFILES)),
    ):
        if value is not None and value not in choices:
            message = f"{field} must be one of {', '.join(choices)}"
            raise InvalidError(message, Fault(f"/{field}", message))
    for field, value in (("node", node), ("requester", username)):
        if value is not None and not is_plain(value):
            message = f"{field} must be plain text"
            raise InvalidError(message, Fault(f"/{field}", message))
    return RequestFilter(RequestState(state) if state else None, profile, node, username)


def list_requests(
    authority: Authority,
    requester: Requester,
    cluster: str,
    wanted: RequestFilter,
    before: UUID | None,
    limit: int,
) -> list[StoredRequest]:
    """Requests of a cluster that meet the filter, newest first; nodes and bootstrap tokens see their own."""
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REQUEST, cluster, now)
        own = only_own(requester)
        if own is not None:
            if wanted.username not in {None, own}:
                return []
            wanted = replace(wanted, username=own)
        return requests.page(connection, found.id, wanted, before, limit)


def get_request(authority: Authority, requester: Requester, cluster: str, name: str) -> StoredRequest:
    """One request.

    Raises:
        NotFoundError: there is none of that name; or it is another's, to nodes and bootstrap tokens.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REQUEST, cluster, now)
        return find_request(connection, requester, found, name)


def find_request(
    connection: Connection, requester: Requester, cluster: Cluster, name: str, *, lock: bool = False
) -> StoredRequest:
    """The request of that name, if the requester may see it.

    Raises:
        NotFoundError: as `get_request`.
    """
    stored = requests.find(connection, cluster.id, name, lock=lock) if is_plain(name) else None
    own = only_own(requester)
    if stored is None or own not in {None, stored.submitted.username}:
        message = (
            f"there is no certificate request {name[:80]!r} in the cluster {cluster.name}; they are removed 1 h after"
            " their decision, and after 24 h without one"
        )
        raise NotFoundError(message)
    return stored


def check_version(stored: StoredRequest, expected: int | None) -> None:
    """Hold whoever changes a request to the version that they saw.

    Raises:
        PreconditionError: it is at another.
    """
    if expected is not None and stored.version != expected:
        message = f"the request is at version {stored.version}, not {expected}; read it again and decide anew"
        raise PreconditionError(message)


def delete_request(
    authority: Authority,
    requester: Requester,
    cluster: str,
    name: str,
    expected_version: int | None = None,
    *,
    dry_run: bool = False,
) -> StoredRequest:
    """Remove a request; a certificate that was issued for it stays.

    Returns:
        What it was, at the version that its end took.

    Raises:
        NotFoundError: there is none of that name.
        PreconditionError: it is not at the expected version.
    """
    transaction = authority.database.read if dry_run else authority.database.write
    with transaction() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.DELETE_REQUEST, cluster, now)
        if not dry_run:
            counters.hold(connection, found.id, "requests")
        stored = find_request(connection, requester, found, name, lock=not dry_run)
        check_version(stored, expected_version)
        if dry_run:
            return stored
        requests.remove(connection, stored.id)
        gone = replace(stored, version=counters.advance(connection, found.id, "requests"))
        log_changes(connection, ChangeKind.DELETED, [gone], now)
        details = {"state": stored.state.value, "profile": stored.profile, "node": stored.node}
        record.change(authority, connection, requester, "request.delete", stored.name, found.id, details)
    return gone


def certificate_of(
    authority: Authority, requester: Requester, cluster: str, name: str
) -> tuple[StoredCertificate, bytes]:
    """The certificate that was issued for a request, and the CA certificate (DER) that signed it.

    Raises:
        NotFoundError: there is no such request, or it has no certificate (yet); the message says how it stands.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_REQUEST, cluster, now)
        stored = find_request(connection, requester, found, name)
        made = certificates.find_one(connection, stored.certificate_id) if stored.certificate_id else None
        if made is None:
            message = f"the certificate request {stored.name} is {stored.state}: {stored.reason}"
            raise NotFoundError(message)
        return made, authorities.generation(connection, made.generation_id).certificate


def certificates_of(authority: Authority, found: Sequence[StoredRequest]) -> dict[UUID, StoredCertificate]:
    """The certificates that were issued for requests, by their own ids."""
    ids = [stored.certificate_id for stored in found if stored.certificate_id is not None]
    if not ids:
        return {}
    with authority.database.read() as connection:
        return certificates.find_all(connection, ids)
