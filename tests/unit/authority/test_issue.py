from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select, text, update
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, key_hash
from tests.support.world import World, make_authority, request_for

from trivet.authority import issue as issuing
from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, Renewal, prepare
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.pki.assembly import assemble
from trivet.pki.errors import (
    AccessDeniedError,
    BadCSRError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    Refusal,
    RejectedIdentifierError,
    RevokedError,
    UnavailableError,
)
from trivet.pki.kubernetes import PROFILES
from trivet.pki.plan import Plan
from trivet.pki.revocation import EntryKind
from trivet.signing import signer
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store import issuing as store_issuing
from trivet.store.decisions import Decision
from trivet.store.tables import authorities, generations


def _count(world: World, table: str) -> int:
    with world.authority.database.read() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608


def _refused(
    world: World, kind: type[Refusal], wish: Issuance | Renewal, requester: Requester = OPERATOR
) -> Decision:
    """Issue, expect a refusal, and give its decision record."""
    before = _count(world, "certificates")
    with pytest.raises(kind) as caught:
        issuing.issue(world.authority, requester, wish)
    assert _count(world, "certificates") == before
    decision = world.decision(caught.value.decision)
    assert (decision.verdict, decision.reason, decision.detail) == ("refused", kind.slug, caught.value.detail)
    assert decision.serial is None
    return decision


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_issued_and_stored_as_it_left(world: World, profile: str) -> None:
    issued = world.issue(profile, "node-1")
    parsed = x509.load_der_x509_certificate(issued.stored.der)
    assert world.stored(issued) == issued.stored
    assert issued.stored.profile == profile
    assert issued.stored.serial == format(parsed.serial_number, "x")
    assert issued.stored.issued_at == world.clock.now
    assert parsed.not_valid_before_utc == world.clock.now.replace(microsecond=0) - timedelta(minutes=5)
    assert parsed.not_valid_after_utc - parsed.not_valid_before_utc == timedelta(days=4)
    parsed.verify_directly_issued_by(x509.load_der_x509_certificate(issued.issuer))


def test_an_issuance_leaves_its_decision(world: World) -> None:
    world.make_cluster("green")
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now))
    world.revoke(entry(EntryKind.GROUP, "others"))
    world.revoke(entry(EntryKind.GROUP, "system:nodes"), cluster="green")
    world.revoke(entry(EntryKind.GROUP, "others"), cluster=None)
    world.clock.advance(seconds=1)
    requester = Requester("token:7", Role.ISSUER, request_id="request-1")
    body = csr("system:node:node-1")
    issued = world.issue(request=body, requester=requester)
    decision = world.decision(issued.stored.decision_id)
    assert (decision.chain, decision.position) == (2, 1)
    assert decision.certificate_sha256 == hashlib.sha256(issued.stored.der).hexdigest()
    unchained = replace(decision, certificate_sha256=None, chain=None, position=None, previous_sha256=None)
    assert unchained == Decision(
        id=issued.stored.decision_id,
        decided_at=world.clock.now,
        cluster_id=issued.stored.cluster_id,
        requester="token:7",
        action="issue",
        profile="kubelet-client",
        request_sha256=hashlib.sha256(body).hexdigest(),
        verdict="issued",
        cluster_version=2,
        global_version=1,
        considered=decision.considered,
        identity={
            "commonName": "system:node:node-1",
            "organizations": ["system:nodes"],
            "dnsNames": [],
            "ipAddresses": [],
            "publicKeySha256": key_hash(0),
            "ancestors": [],
        },
        serial=issued.stored.serial,
        request_id="request-1",
    )
    # Of this cluster, and sharing a name; the cut-off spares it.
    assert [(one["kind"], one["value"], one["matched"]) for one in decision.considered] == [
        ("Group", "system:nodes", False)
    ]


def test_a_pem_request_leaves_the_hash_of_its_der(world: World) -> None:
    body = csr("system:node:node-1")
    pem = x509.load_der_x509_csr(body).public_bytes(Encoding.PEM)
    issued = world.issue(request=pem)
    assert world.decision(issued.stored.decision_id).request_sha256 == hashlib.sha256(body).hexdigest()


def test_a_revoked_request_leaves_its_decision(world: World) -> None:
    standing = world.revoke(entry(EntryKind.GROUP, "system:nodes")).revocation.entries[0]
    decision = _refused(world, RevokedError, Issuance("blue", "kubelet-client", csr(), "node-1"))
    assert (decision.cluster_version, decision.global_version) == (1, 0)
    assert decision.considered == [
        {
            "entry": str(standing.id),
            "revocation": standing.object_name,
            "kind": "Group",
            "value": "system:nodes",
            "notBefore": None,
            "matched": True,
        }
    ]


CSR = csr()
REFUSALS: list[tuple[str, type[Refusal], Issuance]] = [
    ("garbage", BadCSRError, Issuance("blue", "kubelet-client", b"garbage", "node-1")),
    ("no profile", InvalidError, Issuance("blue", "nonsense", CSR, "node-1")),
    ("odd profile", InvalidError, Issuance("blue", "a\x00\ud800", CSR, "node-1")),
    ("no node", InvalidError, Issuance("blue", "kubelet-client", CSR)),
    ("odd node", InvalidError, Issuance("blue", "kubelet-client", CSR, "a\x00")),
    ("no cluster", NotFoundError, Issuance("green", "kubelet-client", CSR, "node-1")),
    ("odd cluster", NotFoundError, Issuance("a\x00\ud800", "kubelet-client", CSR, "node-1")),
    ("short", InvalidError, Issuance("blue", "kubelet-client", CSR, "node-1", timedelta(seconds=599))),
    ("names", RejectedIdentifierError, Issuance("blue", "kubelet-client", csr("other"), "node-1")),
    ("odd key", InvalidError, Issuance("blue", "kubelet-client", CSR, "node-1", None, "a\x00\ud800")),
    ("long key", InvalidError, Issuance("blue", "kubelet-client", CSR, "node-1", None, "k" * 256)),
    ("empty key", InvalidError, Issuance("blue", "kubelet-client", CSR, "node-1", None, "")),
]


@pytest.mark.parametrize(
    ("kind", "wish"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_a_refusal_leaves_its_decision(world: World, kind: type[Refusal], wish: Issuance) -> None:
    decision = _refused(world, kind, wish)
    assert decision.request_sha256 == hashlib.sha256(wish.request).hexdigest()
    assert decision.action == "issue"


def test_a_lack_of_permission_leaves_its_decision(world: World) -> None:
    auditor = Requester("token:9", Role.AUDITOR)
    decision = _refused(world, AccessDeniedError, Issuance("blue", "kubelet-client", CSR, "node-1"), auditor)
    assert decision.requester == "token:9"
    assert decision.cluster_version is None


def test_what_is_wrong_is_told_only_to_those_who_may_ask(world: World) -> None:
    stranger = Requester("token:9", Role.ISSUER, world.make_cluster("green").id)
    for wish in (
        Issuance("blue", "nonsense", b"garbage"),
        Issuance("unknown", "kubelet-client", CSR, "node-1"),
    ):
        _refused(world, AccessDeniedError, wish, stranger)


def test_less_than_the_longest_lifetime_may_be_asked(world: World) -> None:
    stored = world.issue(lifetime=timedelta(hours=1)).stored
    assert stored.not_after == world.clock.now.replace(microsecond=0) + timedelta(hours=1)
    longest = world.issue(lifetime=timedelta(days=400)).stored
    assert longest.not_after - longest.not_before == timedelta(days=4)


def test_a_certificate_does_not_outlive_its_issuer(world: World) -> None:
    issuer = x509.load_der_x509_certificate(world.issue().issuer)
    world.clock.now = issuer.not_valid_after_utc - timedelta(hours=1)
    assert world.issue().stored.not_after == issuer.not_valid_after_utc
    world.clock.now = issuer.not_valid_after_utc + timedelta(seconds=2)
    _refused(world, ExpiredError, Issuance("blue", "kubelet-client", CSR, "node-1"))


def test_every_serial_is_new(world: World) -> None:
    serials = [world.issue().stored.serial for _ in range(20)]
    assert len(set(serials)) == 20
    assert min(map(len, serials)) > 30


def test_ids_sort_by_time(world: World) -> None:
    ids = []
    for _ in range(5):
        ids.append(world.issue().stored.id)
        world.clock.advance(seconds=0.001)
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}


def test_a_serial_of_zero_is_drawn_again(world: World) -> None:
    draws = iter([0, 0, 5])
    authority = replace(world.authority, random_bits=lambda _: next(draws))
    assert authority.new_serial() == 5


class TestBatch:
    def test_each_gets_its_own_verdict(self, world: World) -> None:
        world.make_cluster("green")
        world.revoke(entry(EntryKind.COMMON_NAME, "system:node:banned"))
        wishes = [
            Issuance("blue", "kubelet-client", request_for("kubelet-client", "a", key=1), "a"),
            Issuance("blue", "kubelet-client", b"garbage", "b"),
            Issuance("blue", "kubelet-client", CSR, "banned"),
            Issuance("green", "kubelet-client", CSR, "banned"),
            Issuance("unknown", "kubelet-client", CSR, "c"),
            Issuance("blue", "nonsense", CSR, "d"),
            Issuance("blue", "etcd-peer", csr(hosts=("e.example",), key=2), "e"),
        ]
        outcomes = issue_all(world.authority, [prepare(OPERATOR, wish) for wish in wishes])
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [
            IssuedCertificate,
            BadCSRError,
            RevokedError,
            IssuedCertificate,
            NotFoundError,
            InvalidError,
            IssuedCertificate,
        ]
        assert _count(world, "certificates") == 3
        assert _count(world, "decisions") == len(wishes)
        for wish, outcome in zip(wishes, outcomes, strict=True):
            decision_id = outcome.decision if isinstance(outcome, Refusal) else outcome.stored.decision_id
            decision = world.decision(decision_id)
            assert decision.request_sha256 == hashlib.sha256(wish.request).hexdigest()
            assert decision.verdict == ("refused" if isinstance(outcome, Refusal) else "issued")

    def test_each_is_asked_by_its_own_requester(self, world: World) -> None:
        wish = Issuance("blue", "kubelet-client", CSR, "a")
        auditor = Requester("token:9", Role.AUDITOR)
        refused, issued = issue_all(world.authority, [prepare(auditor, wish), prepare(OPERATOR, wish)])
        assert isinstance(refused, AccessDeniedError)
        assert isinstance(issued, IssuedCertificate)

    def test_an_empty_batch_does_nothing(self, world: World) -> None:
        assert issue_all(world.authority, []) == []
        assert _count(world, "decisions") == 0


class TestFailure:
    def test_an_unreachable_database_is_unavailable(self, world: World) -> None:
        authority = make_authority("postgresql://trivet@127.0.0.1:1/trivet", world.clock)
        with pytest.raises(UnavailableError):
            World(authority, world.clock).issue()

    def test_a_missing_schema_gives_no_certificate(self, tmp_path: Path, world: World) -> None:
        authority = make_authority(f"sqlite:///{tmp_path / 'empty.db'}", world.clock)
        with pytest.raises(Exception, match="no such table"):
            World(authority, world.clock).issue()
        authority.database.dispose()

    def test_a_failure_to_store_gives_no_certificate(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise UnavailableError("away")

        monkeypatch.setattr(store_issuing, "write", fail)
        with pytest.raises(UnavailableError):
            world.issue()
        assert _count(world, "decisions") == 0

    def test_what_was_wrongly_signed_does_not_leave(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def other_subject(plan: Plan) -> bytes:
            return assemble(replace(plan, names=replace(plan.names, common_name="system:masters")))

        monkeypatch.setattr(signer, "assemble", other_subject)
        with caplog.at_level(logging.CRITICAL):
            decision = _refused(world, UnavailableError, Issuance("blue", "admin", CSR, None, None, "key"))
        assert decision.reason == "unavailable"
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]
        assert "subject" in caplog.text
        # The key is free again.
        monkeypatch.undo()
        assert not world.issue("admin", None, idempotency_key="key").replayed

    def test_a_wrong_key_encryption_key_gives_no_certificate(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.issue()  # the chain for the record of the refusal was opened while the key was right
        wrong = KeyEncryptionKey(bytes(range(1, 33)))
        blind = World(replace(world.authority, keyring=Keyring(wrong)), world.clock)
        _refused(blind, UnavailableError, Issuance("blue", "admin", CSR))
        assert "does not open" in caplog.text

    def test_an_authority_without_an_active_generation_issues_nothing(self, world: World) -> None:
        world.issue()
        with world.authority.database.write() as connection:
            connection.execute(text("UPDATE generations SET state = 'retired'"))
        _refused(world, NotFoundError, Issuance("blue", "admin", CSR))

    @pytest.mark.parametrize("opened_before", [False, True])
    def test_keys_that_were_swapped_in_the_database_sign_nothing(
        self, world: World, caplog: pytest.LogCaptureFixture, *, opened_before: bool
    ) -> None:
        world.make_cluster("green")
        if opened_before:
            world.issue(cluster="blue")
            world.issue(cluster="green")
        column = generations.c.certificate if opened_before else generations.c.private_key
        with world.authority.database.write() as connection:
            query = select(generations.c.id, column).join(authorities).where(authorities.c.name == "cluster")
            (one, mine), (other, theirs) = connection.execute(query).all()
            for generation_id, value in ((one, theirs), (other, mine)):
                swap = update(generations).where(generations.c.id == generation_id)
                connection.execute(swap.values({column: value}))
        for cluster in ("blue", "green"):
            if not opened_before:
                _refused(world, UnavailableError, Issuance(cluster, "admin", CSR))
                continue
            # This process remembers whose they are; another one refuses.
            made = world.issue("admin", None, cluster=cluster)
            issuer = x509.load_der_x509_certificate(made.issuer)
            x509.load_der_x509_certificate(made.stored.der).verify_directly_issued_by(issuer)
            assert cluster in issuer.subject.rfc4514_string()
        assert opened_before or "does not belong" in caplog.text
        assert repr(mine)[2:-1] not in caplog.text
