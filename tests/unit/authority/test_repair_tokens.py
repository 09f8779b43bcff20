"""One-time tokens: each rule that holds a node to what it held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete
from tests.support.fleet import Fleet, new_request, plights
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.approval.rules import Subject, assess
from trivet.authority.authenticate import authenticate_token, recognise_token
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, Renewal, prepare
from trivet.authority.issue import IssuedCertificate, issue, issue_all
from trivet.authority.repairs.survey import Progress
from trivet.authority.repairs.tokens import create_repair_token
from trivet.pki.approval import Submitter, SubmitterKind
from trivet.pki.csr import parse_certificate_request
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    BadPublicKeyError,
    ConflictError,
    InvalidError,
    NotFoundError,
    Refusal,
    RejectedIdentifierError,
    RevokedError,
)
from trivet.pki.revocation import EntryKind
from trivet.store import clusters
from trivet.store.tables import repair_tokens

SERVING = "kubelet-serving"
CLIENT = "kubelet-client"


@pytest.fixture
def fleet(world: World) -> Fleet:
    """Give a node `w` whose two certificates were revoked, and a node `v`."""
    fleet = Fleet(world)
    for profile in (CLIENT, SERVING):
        fleet.provision("w", profile)
    fleet.provision("v", CLIENT)
    world.revoke(
        *(entry(EntryKind.SERIAL_NUMBER, fleet.held["w", each].serial) for each in (CLIENT, SERVING))
    )
    world.clock.advance(seconds=1)
    return fleet


@pytest.fixture
def opened(fleet: Fleet) -> Progress:
    return fleet.open()


@pytest.fixture
def secret(fleet: Fleet, opened: Progress) -> str:
    made = fleet.token(opened, "w")
    fleet.world.clock.advance(seconds=1)
    return made


def test_a_token_gives_each_of_what_its_node_held_once(fleet: Fleet, secret: str) -> None:
    former = fleet.held["w", CLIENT]
    for profile in (CLIENT, SERVING):
        fleet.by_token(secret, "w", profile)
        with pytest.raises(
            AccessDeniedError, match=r"used for this .* certificate already, and gives each once"
        ):
            fleet.by_token(secret, "w", profile)
    assert fleet.world.stored(IssuedCertificate(former, b"")).superseded_at is not None


def test_the_same_request_again_gets_the_same_certificate_and_is_no_second_use(
    fleet: Fleet, secret: str
) -> None:
    wish = Issuance("blue", CLIENT, new_request(), "w", idempotency_key="k")
    first, second = (issue(fleet.world.authority, fleet.bearer(secret), wish) for _ in range(2))
    assert (second.stored.id, second.replayed) == (first.stored.id, True)
    with pytest.raises(AccessDeniedError):
        fleet.by_token(secret, "w", CLIENT, idempotency_key="another")


def test_of_two_wishes_in_one_batch_one_has_it(fleet: Fleet, secret: str) -> None:
    bearer = fleet.bearer(secret)
    wishes = [prepare(bearer, Issuance("blue", CLIENT, new_request(), "w")) for _ in range(2)]
    first, second = issue_all(fleet.world.authority, wishes)
    assert isinstance(first, IssuedCertificate)
    assert isinstance(second, AccessDeniedError)


def test_what_was_refused_was_not_used(fleet: Fleet, secret: str) -> None:
    banned = fleet.world.revoke(entry(EntryKind.COMMON_NAME, "system:node:w"))
    with pytest.raises(RevokedError):
        fleet.by_token(secret, "w", CLIENT)
    fleet.world.delete(banned)
    fleet.by_token(secret, "w", CLIENT)


@pytest.mark.parametrize(
    ("node", "profile", "hosts", "refusal", "words"),
    [
        ("v", CLIENT, (), RejectedIdentifierError, "for the node w only"),
        ("w", "admin", (), AccessDeniedError, "held no certificate of the profile admin"),
        ("w", "apiserver", (), AccessDeniedError, "held no certificate of the profile apiserver"),
        ("w", SERVING, ("w", "192.0.2.1"), AccessDeniedError, "with these names"),
        ("w", SERVING, ("other.example",), AccessDeniedError, "with these names"),
    ],
)
def test_a_token_gives_nothing_else(
    fleet: Fleet,
    secret: str,
    node: str,
    profile: str,
    hosts: tuple[str, ...],
    refusal: type[Refusal],
    words: str,
) -> None:
    with pytest.raises(refusal, match=words) as refused:
        fleet.by_token(secret, node, profile, hosts=hosts)
    assert fleet.world.decision(refused.value.decision).requester.startswith("repair-token:")


def test_a_node_may_ask_for_fewer_names_than_it_held_and_gets_no_others(fleet: Fleet) -> None:
    world = fleet.world
    body = new_request(SERVING, "u", ("u", "192.0.2.7"))
    fleet.held["u", SERVING] = world.issue(SERVING, "u", request=body).stored
    world.revoke(entry(EntryKind.SERIAL_NUMBER, fleet.held["u", SERVING].serial))
    world.clock.advance(seconds=1)
    opened = fleet.open()
    secret = fleet.token(opened, "u")
    world.clock.advance(seconds=1)
    fleet.by_token(secret, "u", SERVING, hosts=("u",))
    # It took the place of what had more names: nobody waits for that any longer.
    assert ("u", SERVING) not in plights(fleet.progress(opened))


def test_a_token_wants_a_key_that_no_certificate_has_had(fleet: Fleet, secret: str) -> None:
    fleet.world.issue(node="v", key=3)
    with pytest.raises(BadPublicKeyError, match="new keys only"):
        fleet.by_token(secret, "w", CLIENT, key=pooled_key(3))


def test_a_token_renews_nothing_and_reads_nothing(fleet: Fleet, secret: str) -> None:
    world = fleet.world
    held = fleet.held["v", CLIENT]
    with pytest.raises(AccessDeniedError):
        issue(world.authority, fleet.bearer(secret), Renewal(held, "blue", new_request()))
    with pytest.raises(AccessDeniedError, match="lacks the permission"):
        create_repair_token(world.authority, fleet.bearer(secret), "blue", UUID(int=1), "w")


def test_a_token_is_worthless_in_another_cluster(fleet: Fleet, secret: str) -> None:
    fleet.world.make_cluster("green")
    wish = Issuance("green", CLIENT, new_request(), "w")
    with pytest.raises(AccessDeniedError, match="own cluster only"):
        issue(fleet.world.authority, fleet.bearer(secret), wish)


@pytest.mark.parametrize("end", ["time", "closed"])
def test_a_token_ends_with_its_window_also_for_who_was_known_before(
    fleet: Fleet, opened: Progress, secret: str, end: str
) -> None:
    bearer = fleet.bearer(secret)
    if end == "time":
        fleet.world.clock.now = opened.window.ends_at
    else:
        fleet.close(opened)
    for requester in (bearer, None):
        with pytest.raises(
            AuthenticationError, match=r"was over at .* opens another and makes another token"
        ):
            fleet.by_token(secret, "w", CLIENT, requester=requester)


def test_a_token_of_a_former_window_is_worthless_in_the_next(
    fleet: Fleet, opened: Progress, secret: str
) -> None:
    fleet.close(opened)
    fleet.open()
    with pytest.raises(AuthenticationError):
        fleet.by_token(secret, "w", CLIENT)


def test_a_token_that_is_gone_from_the_database_is_unknown_within_the_transaction(
    fleet: Fleet, secret: str
) -> None:
    bearer = fleet.bearer(secret)
    with fleet.world.authority.database.write() as connection:
        connection.execute(delete(repair_tokens))
    for requester in (bearer, None):
        with pytest.raises(AuthenticationError, match="one-time token is unknown"):
            fleet.by_token(secret, "w", CLIENT, requester=requester)


@pytest.mark.parametrize(
    "secret", ["trivet-repair_short", "trivet-repair_" + "A" * 42, "trivet-repair_" + "é" * 43]
)
def test_a_malformed_token_is_told_what_one_looks_like(world: World, secret: str) -> None:
    with pytest.raises(AuthenticationError, match="57 characters"):
        authenticate_token(world.authority, secret)


def test_an_unknown_token_and_one_under_another_key_are_refused(world: World) -> None:
    with pytest.raises(AuthenticationError, match="unknown"):
        authenticate_token(world.authority, "trivet-repair_" + "A" * 43)


def test_a_token_is_remembered_by_no_process(fleet: Fleet, secret: str) -> None:
    fleet.bearer(secret)
    assert recognise_token(fleet.world.authority, secret) is None


def test_what_was_issued_after_the_token_was_made_is_not_replaced_by_it(
    fleet: Fleet, opened: Progress
) -> None:
    secret = fleet.token(opened, "w")
    fleet.world.clock.advance(seconds=1)
    fleet.provision("w", "admin")
    with pytest.raises(AccessDeniedError):
        fleet.by_token(secret, "w", "admin")


def test_what_a_token_gave_descends_from_nothing_so_that_no_entry_of_its_lineage_names_it(
    fleet: Fleet, secret: str
) -> None:
    issued = fleet.by_token(secret, "w", CLIENT)
    assert (issued.stored.parent_id, issued.stored.node) == (None, "w")
    fleet.world.clock.advance(days=2)
    fleet.renew("w", CLIENT)


def test_nothing_is_noted_as_an_access_token_might_be(fleet: Fleet, opened: Progress, secret: str) -> None:
    del opened
    (record,) = fleet.audited("repair.token")
    assert (record.details["node"], record.details["identities"]) == ("w", 2)
    assert secret not in repr(record)
    assert secret not in repr(fleet.bearer(secret))


class TestMaking:
    """Who may make one, and for what."""

    @pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.HOLDER, Role.REPAIR])
    def test_only_administrators_make_one(self, fleet: Fleet, opened: Progress, role: Role) -> None:
        requester = replace(OPERATOR, role=role)
        with pytest.raises(AccessDeniedError):
            create_repair_token(fleet.world.authority, requester, "blue", opened.window.id, "w")

    def test_an_administrator_of_another_cluster_makes_none(self, fleet: Fleet, opened: Progress) -> None:
        other = fleet.world.admin_of(fleet.world.make_cluster("green"))
        with pytest.raises(AccessDeniedError):
            create_repair_token(fleet.world.authority, other, "blue", opened.window.id, "w")

    def test_a_node_that_held_nothing_gets_none(self, fleet: Fleet, opened: Progress) -> None:
        with pytest.raises(NotFoundError, match="would give it nothing"):
            fleet.token(opened, "nobody")

    def test_what_is_no_name_of_a_node_is_refused(self, fleet: Fleet, opened: Progress) -> None:
        with pytest.raises(InvalidError) as refused:
            fleet.token(opened, "Not A Node")
        assert [fault.pointer for fault in refused.value.faults] == ["/node"]

    def test_a_window_that_is_over_or_unknown_or_of_another_cluster_has_none(
        self, fleet: Fleet, opened: Progress
    ) -> None:
        fleet.world.make_cluster("green")
        authority = fleet.world.authority
        with pytest.raises(NotFoundError):
            create_repair_token(authority, OPERATOR, "green", opened.window.id, "w")
        with pytest.raises(NotFoundError):
            create_repair_token(authority, OPERATOR, "blue", UUID(int=1), "w")
        fleet.world.clock.advance(hours=3)
        with pytest.raises(ConflictError, match="trivet repair blue"):
            fleet.token(opened, "w")

    def test_an_idempotency_key_makes_one_and_its_secret_is_not_told_twice(
        self, fleet: Fleet, opened: Progress
    ) -> None:
        wanted = (fleet.world.authority, OPERATOR, "blue", opened.window.id, "w", "key")
        create_repair_token(*wanted)
        with pytest.raises(ConflictError, match="make another under a new one"):
            create_repair_token(*wanted)
        assert len(fleet.audited("repair.token")) == 1

    def test_it_tells_what_it_gives_also_what_was_given_up(self, fleet: Fleet, opened: Progress) -> None:
        fleet.world.issue("kube-apiserver-client", "w", request=csr("jane", ("team",), key=9))
        made, secret, held = create_repair_token(
            fleet.world.authority, OPERATOR, "blue", opened.window.id, "w"
        )
        assert {one.profile for one in held} == {CLIENT, SERVING, "kube-apiserver-client"}
        assert (made.node, made.window.ends_at) == ("w", opened.window.opened_at + timedelta(hours=2))
        assert len(secret) == 57


def test_a_token_that_was_used_re_admits_a_node_that_was_held_back_from_bootstrapping(
    fleet: Fleet, secret: str
) -> None:
    authority, clock = fleet.world.authority, fleet.world.clock

    def obstacle() -> str:
        request = parse_certificate_request(csr("system:node:w", ("system:nodes",), key=8))
        with authority.database.read() as connection:
            cluster = clusters.get(connection, "blue")
            subject = Subject(cluster, Submitter(SubmitterKind.BOOTSTRAP), CLIENT, "w", request)
            return assess(connection, subject, authority.policy, clock.now).reason

    assert "is held back" in obstacle()
    fleet.by_token(secret, "w", CLIENT)
    assert "is held back" not in obstacle()
