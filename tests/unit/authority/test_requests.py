"""Certificate requests with an injected clock: decided once, issued once, collected, bounded, sealed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Literal
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority import record
from trivet.authority.access import Requester, Role
from trivet.authority.approval import decide
from trivet.authority.approval.bootstrap_tokens import (
    WantedToken,
    create_bootstrap_token,
    delete_bootstrap_token,
)
from trivet.authority.approval.collect import collect
from trivet.authority.approval.decide import Choice
from trivet.authority.approval.fulfil import fulfil, fulfil_left_over, wish_for
from trivet.authority.approval.inventory import delete_node, get_node, put_node
from trivet.authority.approval.requests import delete_request, filter_of, get_request, list_requests
from trivet.authority.approval.submission import Submission
from trivet.authority.approval.submit import submit_request
from trivet.authority.authenticate import authenticate_token
from trivet.authority.context import Authority, Policy, RequestLimits
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.record import list_changes
from trivet.pki.errors import (
    AccessDeniedError,
    BadCSRError,
    ConflictError,
    IdempotencyError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    RateLimitedError,
    Refusal,
    RejectedIdentifierError,
    UnavailableError,
)
from trivet.pki.inventory import read_grants
from trivet.pki.revocation import EntryKind
from trivet.store import counters
from trivet.store.requests import RequestState, StoredRequest

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
APPROVER = Requester("token:approver", Role.APPROVER)


def node_csr(node: str = "n1", *hosts: str, key: int = 0) -> bytes:
    return csr(f"system:node:{node}", ("system:nodes",), hosts, key)


def bearer(world: World, **wanted: object) -> Requester:
    _, token = create_bootstrap_token(world.authority, OPERATOR, "blue", WantedToken(**wanted))  # type: ignore[arg-type]
    return authenticate_token(world.authority, token)


def submit(
    world: World,
    requester: Requester = OPERATOR,
    request: bytes | None = None,
    profile: str = "scheduler",
    **more: object,
) -> StoredRequest:
    wanted = Submission(profile, csr() if request is None else request, **more)  # type: ignore[arg-type]
    return submit_request(world.authority, requester, "blue", wanted)


def approve(world: World, stored: StoredRequest, requester: Requester = APPROVER) -> StoredRequest:
    choice = Choice("blue", stored.name, "known")
    return fulfil(world.authority, decide.approve_request(world.authority, requester, choice))


def read(world: World, name: str) -> StoredRequest:
    return get_request(world.authority, OPERATOR, "blue", name)


def exists(world: World, name: str) -> bool:
    try:
        read(world, name)
    except NotFoundError:
        return False
    return True


def with_policy(world: World, **changes: object) -> World:
    policy = replace(world.authority.policy, **changes)  # type: ignore[arg-type]
    return World(replace(world.authority, policy=policy), world.clock)


def node(world: World, name: str = "n1") -> Requester:
    return world.holder(world.issue(node=name).stored)


# --- decided, issued, recorded


def test_who_approved_what_when_and_why_is_on_the_request_in_the_decision_and_in_the_audit_trail(
    world: World,
) -> None:
    stored = submit(world, name="mine")
    assert stored.state is RequestState.PENDING
    assert "no rule approves" in stored.reason
    world.clock.advance(seconds=60)
    done = approve(world, stored)
    assert done.state is RequestState.ISSUED
    assert (done.decided_by, done.decided_at) == (APPROVER.name, world.clock.now)
    assert done.version > stored.version
    assert [step["type"] for step in done.conditions] == ["Approved"]
    assert done.conditions[0]["message"] == "approved by token:approver: known"
    decision = world.decision(done.decision_id)
    assert decision.detail == "the certificate request mine: approved by token:approver: known"
    assert decision.requester == OPERATOR.name
    (audited,) = [each for each in list_changes(world.authority, OPERATOR, None, 50) if each.object == "mine"]
    assert (audited.action, audited.requester, audited.details["reason"]) == (
        "request.approve",
        "token:approver",
        "known",
    )


def test_a_denied_request_stays_denied_and_nothing_is_issued(world: World) -> None:
    stored = submit(world)
    denied = decide.deny_request(world.authority, APPROVER, Choice("blue", stored.name, "no"))
    assert denied.state is RequestState.DENIED
    assert decide.deny_request(world.authority, APPROVER, Choice("blue", stored.name)) == denied
    with pytest.raises(ConflictError, match="is denied"):
        approve(world, stored)
    with pytest.raises(ConflictError, match="is denied"):
        issue(world.authority, *wish_for(world.authority, stored))
    assert read(world, stored.name) == denied


def test_an_approved_request_is_issued_once_however_often_and_by_however_many(world: World) -> None:
    stored = submit(world)
    approved = decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: fulfil(world.authority, approved), range(4)))
    assert {each.certificate_id for each in done} == {read(world, stored.name).certificate_id}
    assert approve(world, stored) == done[0]
    with world.authority.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM certificates WHERE profile = 'scheduler'")) == 1
    with pytest.raises(ConflictError, match="revoke its certificate instead"):
        decide.deny_request(world.authority, APPROVER, Choice("blue", stored.name))


def test_what_is_refused_after_approval_is_failed_with_its_reason_and_stays_so(world: World) -> None:
    stored = submit(world)
    revoked = world.revoke(entry(EntryKind.COMMON_NAME, "system:kube-scheduler"))
    failed = approve(world, stored)
    assert failed.state is RequestState.FAILED
    assert failed.reason.startswith("revoked: the entry CommonName")
    assert [(step["type"], step["reason"]) for step in failed.conditions] == [
        ("Approved", "ApprovedByPerson"),
        ("Failed", "SignerValidationFailure"),
    ]
    assert world.decision(failed.decision_id).reason == "revoked"
    world.delete(revoked)
    assert fulfil(world.authority, failed) == failed
    with pytest.raises(ConflictError, match="is failed"):
        approve(world, stored)


def test_a_version_that_was_not_looked_at_is_not_decided(world: World) -> None:
    stored = submit(world)
    for choice in (decide.approve_request, decide.deny_request):
        with pytest.raises(PreconditionError):
            choice(
                world.authority, APPROVER, Choice("blue", stored.name, expected_version=stored.version + 1)
            )
    with pytest.raises(PreconditionError):
        delete_request(world.authority, OPERATOR, "blue", stored.name, stored.version + 1)
    with pytest.raises(InvalidError, match="one line"):
        decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name, "a\nb"))
    delete_request(world.authority, OPERATOR, "blue", stored.name, stored.version)
    assert not exists(world, stored.name)


def test_a_request_approved_while_nobody_could_issue_is_issued_later(world: World) -> None:
    stored = submit(world)
    decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    assert fulfil_left_over(world.authority) == 0  # whoever approved it may be about to
    world.clock.advance(seconds=31)
    assert fulfil_left_over(world.authority) == 1
    assert read(world, stored.name).state is RequestState.ISSUED


def test_requests_that_cannot_be_issued_keep_back_no_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for number in range(5):
        stored = submit(world, name=f"r{number}")
        decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
        names.append(stored.name)
    stuck = {read(world, name).id for name in names[:2]}

    def issue_some(authority: Authority, requester: Requester, wish: Issuance) -> object:
        if wish.approved in stuck:
            message = "its signer is away"
            raise UnavailableError(message)
        return issue(authority, requester, wish)

    monkeypatch.setattr("trivet.authority.approval.fulfil.issue", issue_some)
    monkeypatch.setattr("trivet.authority.approval.fulfil._AT_ONCE", 2)
    world.clock.advance(seconds=31)
    with pytest.raises(UnavailableError, match="2 approved"):
        fulfil_left_over(world.authority)
    states = [read(world, name).state for name in names]
    assert states == [RequestState.APPROVED] * 2 + [RequestState.ISSUED] * 3


def test_a_request_whose_voucher_is_no_longer_kept_is_failed(world: World) -> None:
    stored = submit(world, node(world), node_csr("n1", "n1"), "kubelet-serving")
    with world.authority.database.write() as connection:
        connection.execute(text("UPDATE certificate_requests SET voucher_id = id"))  # as if it was pruned
    failed = fulfil(world.authority, read(world, stored.name))
    assert (failed.state, failed.version > stored.version) == (RequestState.FAILED, True)
    assert "is no longer kept; submit it anew" in failed.reason


def test_the_certificate_that_vouches_must_still_stand_when_it_is_issued(world: World) -> None:
    held = world.issue(node="n1")
    holder = world.holder(held.stored)
    stored = submit(world, holder, node_csr("n1", "10.0.0.1"), "kubelet-serving")
    assert stored.state is RequestState.PENDING
    world.revoke(entry(EntryKind.SERIAL_NUMBER, held.stored.serial))
    failed = approve(world, stored)
    assert (failed.state, failed.reason.partition(":")[0]) == (RequestState.FAILED, "revoked")


def test_what_was_issued_for_a_node_s_request_descends_from_its_certificate(world: World) -> None:
    held = world.issue(node="n1")
    stored = submit(world, world.holder(held.stored), node_csr("n1", "n1"), "kubelet-serving")
    assert stored.decided_by == "rule:serving-by-inventory"
    done = fulfil(world.authority, stored)
    world.revoke(entry(EntryKind.SERIAL_NUMBER, held.stored.serial))
    with world.authority.database.read() as connection:
        query = text("SELECT count(*) FROM certificates WHERE revoked_at IS NOT NULL")
        assert connection.scalar(query) == 2
    assert done.state is RequestState.ISSUED


# --- the seal


FORGERIES: dict[str, str] = {
    "approve": "UPDATE certificate_requests SET state = 'approved', decided_by = 'token:1', decided_at = created_at",
    "another-profile": "UPDATE certificate_requests SET profile = 'admin'",
    "another-node": "UPDATE certificate_requests SET node = 'n2'",
    "another-csr": "UPDATE certificate_requests SET der = x'00'",
    "another-approver": "UPDATE certificate_requests SET decided_by = 'rule:nodeclient'",
    "another-requester": "UPDATE certificate_requests SET requester = 'token:other'",
    "another-voucher": "UPDATE certificate_requests SET voucher_id = id",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_whoever_writes_to_the_database_cannot_approve(world: World, forgery: str) -> None:
    stored = submit(world)
    if forgery != "approve":
        decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    requester, wish = wish_for(world.authority, stored)
    with world.authority.database.write() as connection:
        connection.execute(text(FORGERIES[forgery]))
    with pytest.raises(AccessDeniedError, match="the stored approval is none"):
        issue(world.authority, requester, wish)


def another_wish(wish: Issuance, requester: Requester) -> dict[str, tuple[Requester, Issuance]]:
    return {
        "csr": (requester, replace(wish, request=csr(key=3))),
        "profile": (requester, replace(wish, profile="controller-manager")),
        "node": (requester, replace(wish, node="n2")),
        "lifetime": (requester, replace(wish, lifetime=3 * HOUR)),
        "cluster": (replace(requester, cluster_id=None), replace(wish, cluster="green")),
        "requester": (replace(requester, name="token:other"), wish),
        "role": (replace(requester, role=Role.ISSUER), wish),
    }


@pytest.mark.parametrize("change", ["csr", "profile", "node", "lifetime", "cluster", "requester", "role"])
def test_nothing_is_issued_but_what_was_approved(world: World, change: str) -> None:
    world.make_cluster("green")
    stored = submit(world, request=csr() if change != "profile" else csr(""))
    decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    requester, wish = wish_for(world.authority, stored)
    with pytest.raises(AccessDeniedError, match="the stored approval is none"):
        issue(world.authority, *another_wish(wish, requester)[change])


@pytest.mark.parametrize("voucher", ["other", "none"])
def test_nothing_is_issued_by_another_voucher_than_the_approved_one(world: World, voucher: str) -> None:
    stored = submit(world, node(world), node_csr("n1", "n1"), "kubelet-serving")
    requester, wish = wish_for(world.authority, stored)
    other = node(world, "n2").certificate if voucher == "other" else None
    with pytest.raises(AccessDeniedError, match="the stored approval is none"):
        issue(world.authority, replace(requester, certificate=other), wish)


@pytest.mark.parametrize(
    "forgotten",
    ["", ", seal = :seal", ", certificate_id = NULL", ", certificate_id = NULL, decision_id = NULL"],
)
@pytest.mark.parametrize("end", [RequestState.ISSUED, RequestState.FAILED])
def test_a_request_that_is_done_is_not_issued_by_writing_that_it_is_approved(
    world: World, end: RequestState, forgotten: str
) -> None:
    stored = submit(world)
    if end is RequestState.FAILED:
        revoked = world.revoke(entry(EntryKind.COMMON_NAME, "system:kube-scheduler"))
    approved = decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    assert fulfil(world.authority, approved).state is end
    if end is RequestState.FAILED:
        world.delete(revoked)
    with world.authority.database.write() as connection:
        query = text(f"UPDATE certificate_requests SET state = 'approved'{forgotten}")  # noqa: S608
        connection.execute(query, {"seal": approved.seal} if ":seal" in forgotten else {})
    with pytest.raises(AccessDeniedError, match="the stored approval is none"):
        issue(world.authority, *wish_for(world.authority, stored))


def test_an_approval_of_long_ago_does_not_count(world: World) -> None:
    stored = submit(world)
    decide.approve_request(world.authority, APPROVER, Choice("blue", stored.name))
    world.clock.advance(days=1, seconds=1)
    done = fulfil(world.authority, replace(stored, state=RequestState.APPROVED))
    assert "too long ago" in done.reason


def test_nobody_is_issued_anything_as_approved_without_a_request(world: World) -> None:
    requester = Requester("x", Role.APPROVED)
    with pytest.raises(AccessDeniedError, match="nothing was approved"):
        issue(world.authority, requester, Issuance("blue", "scheduler", csr()))
    with pytest.raises(NotFoundError, match="was removed"):
        issue(world.authority, requester, Issuance("blue", "scheduler", csr(), approved=UUID(int=1)))


# --- what a rule approved is looked at again


def deleted(world: World, requester: Requester) -> None:
    token = requester.bootstrap_token
    assert token is not None
    delete_bootstrap_token(world.authority, OPERATOR, "blue", token.id)


def expired(world: World, _: Requester) -> None:
    world.clock.advance(hours=2)


def taken(world: World, _: Requester) -> None:
    world.issue(node="n1", key=5)


CHANGES: dict[str, tuple[Callable[[World, Requester], None], str]] = {
    "deleted": (deleted, "unauthenticated: the bootstrap token is unknown or was deleted"),
    "expired": (expired, "unauthenticated: the bootstrap token"),
    "taken": (
        taken,
        "unauthorized: a rule had approved this, and does no longer: the node n1 holds the certificate",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_approval_by_rule_is_asked_again_in_the_transaction_that_issues(world: World, change: str) -> None:
    requester = bearer(world, lifetime=HOUR)
    stored = submit(world, requester, node_csr(), "kubelet-client")
    assert stored.state is RequestState.APPROVED
    CHANGES[change][0](world, requester)
    failed = fulfil(world.authority, stored)
    assert failed.state is RequestState.FAILED
    assert failed.reason.startswith(CHANGES[change][1])


def test_of_two_tokens_for_one_new_node_one_wins(world: World) -> None:
    first, second = (submit(world, bearer(world), node_csr(key=key), "kubelet-client") for key in (0, 1))
    assert {first.state, second.state} == {RequestState.APPROVED}
    done = [fulfil(world.authority, each).state for each in (second, first)]
    assert done == [RequestState.ISSUED, RequestState.FAILED]


def test_a_person_s_approval_outlives_the_token(world: World) -> None:
    world.issue(node="n1", key=7)
    requester = bearer(world, lifetime=HOUR)
    stored = submit(world, requester, node_csr(), "kubelet-client")
    deleted(world, requester)
    assert approve(world, stored).state is RequestState.ISSUED


# --- nodes that live, nodes that are held back


def test_a_node_whose_certificates_are_over_or_given_up_comes_back_by_a_token(world: World) -> None:
    world.issue(node="n1", key=7)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.PENDING
    world.clock.advance(days=5)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


@pytest.mark.parametrize("kind", [EntryKind.SERIAL_NUMBER, EntryKind.PUBLIC_KEY])
def test_an_entry_of_one_certificate_or_key_holds_its_node_back_until_it_is_gone(
    world: World, kind: EntryKind
) -> None:
    held = world.issue(node="n1", key=7).stored
    value = held.serial if kind is EntryKind.SERIAL_NUMBER else held.spki_sha256
    revoked = world.revoke(entry(kind, value))
    stored = submit(world, bearer(world), node_csr(), "kubelet-client")
    assert stored.state is RequestState.PENDING
    assert "the node n1 is held back" in stored.reason
    free = with_policy(world, hold_revoked_nodes=False)
    assert submit(free, bearer(free), node_csr(), "kubelet-client").state is RequestState.APPROVED
    world.delete(revoked)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


def test_an_issuer_re_admits_a_node_that_was_held_back(world: World) -> None:
    held = world.issue(node="n1", key=7).stored
    world.revoke(entry(EntryKind.SERIAL_NUMBER, held.serial))
    world.clock.advance(seconds=1)
    world.issue(node="n1", key=8)
    stored = submit(world, bearer(world), node_csr(), "kubelet-client")
    assert "holds the certificate" in stored.reason
    world.clock.advance(days=5)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


def test_an_entry_for_many_does_not_hold_a_node_back(world: World) -> None:
    world.issue(node="n1", key=7)
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now + timedelta(seconds=1)))
    world.clock.advance(seconds=2)
    stored = submit(world, bearer(world), node_csr(), "kubelet-client")
    assert fulfil(world.authority, stored).state is RequestState.ISSUED


@pytest.mark.parametrize("kind", [EntryKind.SERIAL_NUMBER, EntryKind.PUBLIC_KEY])
def test_a_node_is_held_back_by_an_entry_that_came_after_a_mass_revocation(
    world: World, kind: EntryKind
) -> None:
    held = world.issue(node="n1", key=7).stored
    world.clock.advance(seconds=1)
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now))
    own_entry = world.revoke(
        entry(kind, held.serial if kind is EntryKind.SERIAL_NUMBER else held.spki_sha256)
    )
    stored = submit(world, bearer(world), node_csr(), "kubelet-client")
    assert (stored.state, f"entry {kind}" in stored.reason) == (RequestState.PENDING, True)
    world.delete(own_entry)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


def test_a_node_is_held_back_until_the_last_entry_that_names_its_certificate_is_gone(world: World) -> None:
    held = world.issue(node="n1", key=7).stored
    entries = [
        world.revoke(entry(EntryKind.SERIAL_NUMBER, held.serial), name=name, cluster=cluster)
        for name, cluster in (("first", "blue"), ("second", "blue"), ("everywhere", None))
    ]
    for revoked, cluster in zip(entries, ("blue", "blue", None), strict=True):
        stored = submit(world, bearer(world), node_csr(), "kubelet-client")
        assert "is held back" in stored.reason
        world.delete(revoked, cluster)
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


@pytest.mark.parametrize("with_descendants", [True, False])
def test_an_entry_of_an_earlier_certificate_holds_a_node_back_if_it_means_those_renewed_from_it(
    world: World, *, with_descendants: bool
) -> None:
    first = world.issue(node="n1", key=7).stored
    world.clock.advance(seconds=1)
    world.renew(first, key=8)
    world.clock.advance(seconds=1)
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now))
    own_entry = entry(EntryKind.SERIAL_NUMBER, first.serial)
    world.revoke(replace(own_entry, include_renewed=with_descendants))
    stored = submit(world, bearer(world), node_csr(), "kubelet-client")
    assert ("is held back" in stored.reason) is with_descendants


def test_an_entry_in_another_cluster_holds_no_node_back(world: World) -> None:
    held = world.issue(node="n1", key=7).stored
    world.make_cluster("green")
    world.clock.advance(seconds=1)
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now))
    world.revoke(entry(EntryKind.PUBLIC_KEY, held.spki_sha256), cluster="green")
    assert submit(world, bearer(world), node_csr(), "kubelet-client").state is RequestState.APPROVED


# --- what is submitted


def test_a_node_asks_for_its_own_next_certificate_and_for_no_other_s(world: World) -> None:
    holder = node(world)
    stored = submit(world, holder, node_csr(key=3), "kubelet-client")
    assert stored.decided_by == "rule:selfnodeclient"
    assert fulfil(world.authority, stored).state is RequestState.ISSUED
    with pytest.raises(RejectedIdentifierError, match="its own names only") as caught:
        submit(world, holder, node_csr("n2"), "kubelet-client")
    assert world.decision(caught.value.decision).reason == "rejectedIdentifier"
    with pytest.raises(AccessDeniedError, match="not ask for the profile admin"):
        submit(world, holder, csr(), "admin")
    client = world.holder(world.issue("scheduler", None).stored)
    with pytest.raises(AccessDeniedError, match="may renew it, but not ask"):
        submit(world, client, csr(), "scheduler")


def test_a_node_sees_its_own_requests_also_after_its_certificate_was_renewed(world: World) -> None:
    holder, other = node(world), node(world, "n2")
    stored = submit(world, holder, node_csr("n1", "n1"), "kubelet-serving")
    submit(world)
    assert holder.certificate is not None
    renewed = world.holder(world.renew(holder.certificate, requester=holder).stored)
    everything = filter_of(None, None, None, None)
    assert list_requests(world.authority, renewed, "blue", everything, None, 9) == [stored]
    assert list_requests(world.authority, other, "blue", everything, None, 9) == []
    with pytest.raises(NotFoundError):
        get_request(world.authority, other, "blue", stored.name)


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"profile": "nonsense"}, InvalidError),
        ({"request": b"nonsense"}, BadCSRError),
        ({"request": csr() + b" " * 17_000}, BadCSRError),
        ({"lifetime": timedelta(seconds=599)}, InvalidError),
        ({"name": "Upper"}, InvalidError),
        ({"generate_name": "Upper-"}, InvalidError),
        ({"profile": "kubelet-client"}, InvalidError),
        ({"request": csr("other")}, RejectedIdentifierError),
    ],
)
def test_what_could_never_be_issued_is_refused_when_it_is_submitted(
    world: World, more: dict[str, object], refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal):
        submit(world, **more)  # type: ignore[arg-type]


def test_a_name_is_taken_once_and_a_key_makes_one_request(world: World) -> None:
    stored = submit(world, name="mine")
    with pytest.raises(ConflictError, match="mine"):
        submit(world, name="mine")
    wanted = Submission("scheduler", csr())
    first = submit_request(world.authority, OPERATOR, "blue", wanted, "key-1")
    assert submit_request(world.authority, OPERATOR, "blue", wanted, "key-1") == first
    with pytest.raises(IdempotencyError):
        submit_request(world.authority, OPERATOR, "blue", replace(wanted, name="other"), "key-1")
    delete_request(world.authority, OPERATOR, "blue", first.name)
    with pytest.raises(IdempotencyError, match="removed since"):
        submit_request(world.authority, OPERATOR, "blue", wanted, "key-1")
    submit(world, Requester("token:other", Role.ISSUER), name=first.name)
    with pytest.raises(IdempotencyError, match="removed since"):
        submit_request(world.authority, OPERATOR, "blue", wanted, "key-1")
    assert first.name.startswith("csr-")
    assert stored.generate_name is None


# --- room and collection


def test_decided_requests_go_after_an_hour_and_pending_ones_after_a_day(world: World) -> None:
    waiting, issued, denied = (submit(world, name=name) for name in ("waiting", "issued", "denied"))
    approve(world, issued)
    decide.deny_request(world.authority, APPROVER, Choice("blue", denied.name))
    world.clock.advance(seconds=3599)
    assert collect(world.authority, lambda _: None)
    assert exists(world, "issued")
    assert exists(world, "denied")
    world.clock.advance(seconds=1)
    collect(world.authority, lambda _: None)
    assert not exists(world, "issued")
    assert not exists(world, "denied")
    world.clock.advance(hours=23)
    collect(world.authority, lambda _: None)
    assert not exists(world, waiting.name)


def test_the_requests_that_wait_are_bounded_for_each_requester_and_for_all(world: World) -> None:
    limits = RequestLimits(pending=2, pending_in_cluster=6, kept=50, kept_in_cluster=50)
    small = with_policy(world, requests=limits)
    others = [Requester(f"token:{number}", Role.ISSUER) for number in range(4)]
    for _ in range(2):
        submit(small, others[0])
    with pytest.raises(RateLimitedError, match="2 requests of token:0 wait already"):
        submit(small, others[0])
    small.issue(node="n1", key=7)
    guest = bearer(small)
    submit(small, guest, node_csr(), "kubelet-client")
    with pytest.raises(RateLimitedError, match="3 requests wait already") as caught:  # half of the places
        submit(small, guest, node_csr(key=1), "kubelet-client")
    assert "trivet requests list --state pending" in caught.value.detail
    assert caught.value.retry_after >= timedelta(seconds=1)
    for other in (others[1], others[1], others[2]):
        submit(small, other)
    with pytest.raises(RateLimitedError, match="6 requests wait already"):
        submit(small, others[3])
    decide.deny_request(small.authority, APPROVER, Choice("blue", submit_first(small)))
    submit(small, others[3])


def submit_first(world: World) -> str:
    wanted = filter_of("pending", None, None, None)
    return list_requests(world.authority, OPERATOR, "blue", wanted, None, 1)[0].name


def test_decided_requests_take_room_too_until_they_are_removed(world: World) -> None:
    limits = RequestLimits(pending=50, pending_in_cluster=50, kept=2, kept_in_cluster=4)
    small = with_policy(world, requests=limits)
    guest = bearer(small)
    for number in range(2):
        fulfil(small.authority, submit(small, guest, node_csr(f"n{number}"), "kubelet-client"))
    with pytest.raises(RateLimitedError, match="2 requests in the cluster blue"):
        submit(small, guest, node_csr("n2"), "kubelet-client")
    with pytest.raises(RateLimitedError, match="the cluster blue has 2 requests"):  # half of the places
        submit(small, bearer(small), node_csr("n3"), "kubelet-client")
    submit(small, Requester("token:9", Role.ISSUER))
    small.clock.advance(hours=1)
    collect(small.authority, lambda _: None)
    submit(small, bearer(small), node_csr("n3"), "kubelet-client")


# --- the inventory


def own(world: World, name: str, *networks: str, names: tuple[str, ...] = ()) -> None:
    put_node(world.authority, OPERATOR, "blue", name, read_grants(names, networks))


def test_what_the_inventory_grants_a_node_may_ask_for_directly_and_by_request(world: World) -> None:
    holder = node(world)
    request = node_csr("n1", "n1", "10.0.0.7", "db.example")
    with pytest.raises(RejectedIdentifierError, match=r"not grant to the node n1: db.example, 10.0.0.7"):
        world.issue("kubelet-serving", "n1", request=request, requester=holder)
    assert submit(world, holder, request, "kubelet-serving").state is RequestState.PENDING
    own(world, "n1", "10.0.0.0/24", names=("db.example",))
    world.issue("kubelet-serving", "n1", request=request, requester=holder)
    assert submit(world, holder, request, "kubelet-serving").decided_by == "rule:serving-by-inventory"
    delete_node(world.authority, OPERATOR, "blue", "n1")
    with pytest.raises(RejectedIdentifierError):
        world.issue("kubelet-serving", "n1", request=request, requester=holder)


def test_what_another_node_owns_is_refused_also_the_name_of_one_without_an_entry(world: World) -> None:
    own(world, "n2", "10.0.0.0/24")
    with pytest.raises(ConflictError, match="belongs to the node n2"):
        own(world, "n1", "10.0.0.7")
    node(world, "n3")
    with pytest.raises(ConflictError, match="n3 is the name of a node"):
        own(world, "n1", names=("n3",))
    own(world, "n1", names=("n4",))
    with pytest.raises(RejectedIdentifierError, match="not grant to the node n4: n4"):
        world.issue("kubelet-serving", "n4", request=node_csr("n4", "n4"), requester=node(world, "n4"))


def test_an_entry_keeps_its_version_until_it_changes_and_is_changed_only_as_it_was_seen(world: World) -> None:
    own(world, "n1", "10.0.0.7")
    first = get_node(world.authority, OPERATOR, "blue", "n1")
    own(world, "n1", "10.0.0.7")
    assert get_node(world.authority, OPERATOR, "blue", "n1") == first
    with pytest.raises(PreconditionError):
        put_node(world.authority, OPERATOR, "blue", "n1", read_grants([], []), first.version + 1)
    with pytest.raises(PreconditionError, match="not there"):
        put_node(world.authority, OPERATOR, "blue", "n2", read_grants([], []), 1)
    with pytest.raises(PreconditionError):
        delete_node(world.authority, OPERATOR, "blue", "n1", first.version + 1)
    second = put_node(world.authority, OPERATOR, "blue", "n1", read_grants([], []), first.version)
    assert second.version > first.version


def test_nothing_is_pinned_unless_the_operator_wants_it(world: World) -> None:
    submit(world, node(world), node_csr("n1", "10.0.0.7"), "kubelet-serving")
    with pytest.raises(NotFoundError):
        get_node(world.authority, OPERATOR, "blue", "n1")


def test_the_first_serving_request_of_a_node_pins_what_nobody_else_owns(world: World) -> None:
    pinning = with_policy(world, pin_inventory=True)
    own(pinning, "n2", "10.0.0.8")
    holder = node(pinning)
    waits = submit(pinning, holder, node_csr("n1", "10.0.0.8"), "kubelet-serving")
    assert waits.state is RequestState.PENDING
    inexact = submit(pinning, holder, csr(hosts=("10.0.0.9",)), "kubelet-serving", node="n1")
    assert inexact.state is RequestState.PENDING
    first = submit(pinning, holder, node_csr("n1", "n1", "10.0.0.7", "db.example"), "kubelet-serving")
    assert first.decided_by == "rule:serving-by-inventory"
    entry_ = get_node(pinning.authority, OPERATOR, "blue", "n1")
    assert (entry_.is_pinned, entry_.grants) == (True, read_grants(["db.example"], ["10.0.0.7"]))
    later = submit(pinning, holder, node_csr("n1", "10.0.0.77"), "kubelet-serving")
    assert later.state is RequestState.PENDING
    own(pinning, "n1", "10.0.0.7")
    assert not get_node(pinning.authority, OPERATOR, "blue", "n1").is_pinned


def test_pinning_takes_its_locks_in_the_order_of_whoever_decides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinning = with_policy(world, pin_inventory=True)
    holder = node(pinning)
    taken: list[str] = []

    def advance(connection: Connection, cluster_id: UUID, name: Literal["inventory", "requests"]) -> int:
        taken.append(name)
        return counters.advance(connection, cluster_id, name)

    def change(*arguments: object) -> None:
        taken.append("audit")
        record.change(*arguments)  # type: ignore[arg-type]

    # What holds the counter first, and then takes the version from it.
    submitting = SimpleNamespace(hold=advance, advance=counters.advance)
    monkeypatch.setattr("trivet.authority.approval.submit.counters", submitting)
    monkeypatch.setattr("trivet.authority.approval.pin.counters", SimpleNamespace(advance=advance))
    monkeypatch.setattr("trivet.authority.approval.pin.record", SimpleNamespace(change=change))
    submit(pinning, holder, node_csr("n1", "10.0.0.7"), "kubelet-serving")
    assert taken == ["requests", "inventory", "audit"]


def test_an_access_token_pins_nothing_for_a_node(world: World) -> None:
    pinning = with_policy(world, pin_inventory=True)
    submit(pinning, OPERATOR, node_csr("n1", "10.0.0.7"), "kubelet-serving")
    with pytest.raises(NotFoundError):
        get_node(pinning.authority, OPERATOR, "blue", "n1")


def test_the_default_policy_holds_nodes_back_and_pins_nothing() -> None:
    assert Policy().hold_revoked_nodes
    assert not Policy().pin_inventory
