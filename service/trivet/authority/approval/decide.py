"""Approve and deny certificate requests: who did, when and why stands on the request and in the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.authority import record
from trivet.authority.access import Permission, authorized_cluster, check_signer
from trivet.authority.approval import steps as request_steps
from trivet.authority.approval.images import log_changes
from trivet.authority.approval.requests import check_version, find_request
from trivet.authority.metrics import measures
from trivet.pki.documents import MAX_TEXT
from trivet.pki.errors import ConflictError, Fault, InvalidError
from trivet.pki.kubernetes import signer_of
from trivet.pki.names import is_plain
from trivet.store import counters, requests
from trivet.store.changes import ChangeKind
from trivet.store.requests import RequestState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.store.requests import StoredRequest


@dataclass(frozen=True, slots=True)
class Choice:
    """Which request is decided, and why.

    Attributes:
        cluster: its name.
        name: of the request.
        reason: in words.
        expected_version: the version that was looked at; None for any.
        code: the reason of the condition, in one word; None for the usual one.
        dry_run: only as if.
    """

    cluster: str
    name: str
    reason: str | None = None
    expected_version: int | None = None
    code: str | None = None
    dry_run: bool = False

    @property
    def words(self) -> str:
        """The reason, or that there is none."""
        return self.reason or "no reason was given"


def approve_request(authority: Authority, requester: Requester, choice: Choice) -> StoredRequest:
    """Approve a request; issuing comes next (`authority.approval.fulfil`). One that is approved stays as it is.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it was denied, or failed.
        PreconditionError: it is not at the expected version.
        InvalidError: the reason is not plain text.
        AccessDeniedError: the requester decides requests for other signers only.
    """

    def step(stored: StoredRequest, version: int, now: datetime) -> StoredRequest:
        message = f"approved by {requester.name}: {choice.words}"
        return request_steps.approved(
            authority, stored, requester.name, message, version, now, code=choice.code
        )

    done = {RequestState.APPROVED, RequestState.ISSUED}
    return _decide(authority, requester, choice, "approve", done, step)


def deny_request(authority: Authority, requester: Requester, choice: Choice) -> StoredRequest:
    """Deny a request for good. One that is denied stays as it is.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: it was approved.
        PreconditionError: it is not at the expected version.
        InvalidError: the reason is not plain text.
    """

    def step(stored: StoredRequest, version: int, now: datetime) -> StoredRequest:
        message = f"denied by {requester.name}: {choice.words}"
        return request_steps.denied(stored, requester.name, message, version, now, code=choice.code)

    done = {RequestState.DENIED}
    return _decide(authority, requester, choice, "deny", done, step)


def _decide(
    authority: Authority,
    requester: Requester,
    choice: Choice,
    verb: str,
    done: set[RequestState],
    step: Callable[[StoredRequest, int, datetime], StoredRequest],
) -> StoredRequest:
    for reason in (choice.reason or "", choice.code or ""):
        if len(reason) > MAX_TEXT or not is_plain(reason):
            message = f"a reason is one line of at most {MAX_TEXT} characters"
            raise InvalidError(message, Fault("/reason", message))
    transaction = authority.database.read if choice.dry_run else authority.database.write
    with transaction() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.DECIDE_REQUEST, choice.cluster, now)
        if not choice.dry_run:
            counters.hold(connection, found.id, "requests")
        stored = find_request(connection, requester, found, choice.name, lock=not choice.dry_run)
        check_signer(requester, signer_of(stored.profile))
        check_version(stored, choice.expected_version)
        if stored.state in done:
            return stored
        if stored.state is not RequestState.PENDING:
            raise _decided_otherwise(stored)
        if choice.dry_run:
            return step(stored, stored.version, now)
        decided = step(stored, counters.advance(connection, found.id, "requests"), now)
        requests.change(connection, decided)
        log_changes(connection, ChangeKind.MODIFIED, [decided], now)
        details = {"uid": str(stored.id), "profile": stored.profile, "node": stored.node}
        details |= {"reason": choice.reason or ""}
        record.change(authority, connection, requester, f"request.{verb}", stored.name, found.id, details)
    measures.request_changed(found, decided.profile, decided.state)
    return decided


def _decided_otherwise(stored: StoredRequest) -> ConflictError:
    way_out = {
        RequestState.DENIED: "the node submits a new one",
        RequestState.FAILED: "the node submits a new one",
        RequestState.APPROVED: "delete it before it is issued, or revoke its certificate then",
        RequestState.ISSUED: "revoke its certificate instead: trivet revoke --serial",
    }[stored.state]
    return ConflictError(
        f"the certificate request {stored.name} is {stored.state} ({stored.reason}); {way_out}"
    )
