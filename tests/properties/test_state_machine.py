"""Issue, renew, revoke, replace, delete and let time pass, in any order: the code and the model agree on all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from tests.properties.model import EVERYWHERE, Holder, Issued, Model, Rule
from tests.support.clock import Clock
from tests.support.proof import complaints, exported, verified
from tests.support.signing_requests import csr, key_hash
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.access import Requester
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, Renewal, prepare
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.authority.memory import Memory
from trivet.authority.proof.ledger import Ledger
from trivet.authority.proof.seal import seal
from trivet.authority.revoke import create_revocation, delete_revocation, replace_revocation
from trivet.pki.errors import ConflictError, ExpiredError, RevokedError
from trivet.pki.manifest import RenewRevocation
from trivet.pki.revocation import Entry, EntryKind
from trivet.store.certificates import StoredCertificate
from trivet.store.tables import certificates, decisions

KEYS = 3
KEY_HASHES = [key_hash(number) for number in range(KEYS)]
LIFETIMES = (timedelta(hours=1), timedelta(days=4))
NAMES = ("first", "second")


class Wish(NamedTuple):
    """What is asked for, and what the certificate will say."""

    profile: str
    node: str | None
    asked: Callable[[int], bytes]
    holder: Holder


def _wish(profile: str, node: str | None, hosts: tuple[str, ...], holder: Holder) -> Wish:
    subject = (holder.common_name, holder.groups) if node is None else ("", ())
    return Wish(profile, node, lambda key: csr(*subject, hosts, key), holder)


Wanted = tuple[int, Wish, int, timedelta]
"""Which cluster, what, with which key, for how long."""

NODE_A = Holder("system:node:a", ("system:nodes",))
WISHES = [
    _wish("kubelet-client", "a", (), NODE_A),
    _wish("kubelet-client", "b", (), Holder("system:node:b", ("system:nodes",))),
    _wish(
        "kubelet-serving",
        "a",
        ("a.x.example", "10.0.0.1"),
        Holder("system:node:a", ("system:nodes",), ("a.x.example",), ("10.0.0.1",)),
    ),
    _wish(
        "etcd-peer",
        "c.x.example",
        ("*.x.example", "2001:db8::1"),
        Holder("c.x.example", (), ("*.x.example", "c.x.example"), ("2001:db8::1",)),
    ),
    _wish(
        "kube-apiserver-client",
        None,
        ("y.example", "10.0.1.1"),
        Holder("jane", ("team", "ops"), ("y.example", "jane"), ("10.0.1.1",)),
    ),
]
OWN_SERVING = Wish(
    "kubelet-serving",
    "a",
    lambda key: csr(hosts=("a",), key=key),
    Holder("system:node:a", ("system:nodes",), ("a",)),
)
VALUES = {
    "Group": ("system:nodes", "team", "nobody"),
    "CommonName": ("system:node:a", "jane", "c.x.example"),
    "DNS": ("a.x.example", "z.x.example", "x.example", ".x.example", ".example", "y.example", "jane"),
    "IP": ("10.0.0.1", "10.0.0.0/23", "10.0.1.0/24", "2001:db8::/32", "::/0"),
    "PublicKey": tuple(KEY_HASHES),
}


@dataclass(frozen=True)
class Draft:
    """A revocation entry before it is known which certificates there are to name."""

    kind: str
    value: str
    serial: int
    cut_off: int
    include_renewed: bool


_places = st.integers(0, 30)
_serials = st.builds(Draft, st.just("SerialNumber"), st.just(""), _places, _places, st.booleans())
_others = (
    st.builds(Draft, st.just(kind), st.sampled_from(values), st.just(0), _places, st.just(value=True))
    for kind, values in VALUES.items()
)
DRAFTS = st.one_of(_serials, *_others)
SCOPES = st.sampled_from([0, 0, 1, 2])
_examples = count(1)


class Machine(RuleBasedStateMachine):
    """Two clusters of a database that other examples have used before."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.world = World(make_authority(self.url, self.clock), self.clock)
        self.model = Model()
        self.stored: dict[str, StoredCertificate] = {}
        self.requesters: dict[str, Requester] = {}
        self.requests = 0

    @initialize()
    def make_clusters(self) -> None:
        number = next(_examples)
        made = [self.world.make_cluster(f"{name}-{number}") for name in NAMES]
        self.clusters = [cluster.name for cluster in made]
        self.cluster_ids = [cluster.id for cluster in made]

    def teardown(self) -> None:
        for scope, name in list(self.model.objects):
            if scope == EVERYWHERE:
                delete_revocation(self.world.authority, OPERATOR, None, "kube-system", name)
        self.world.authority.database.dispose()

    # What is asked, and what the model says to it.

    def _expected(self, cluster: str, holder: Holder, key: int, parent: Issued | None) -> Issued:
        return Issued("", cluster, holder, KEY_HASHES[key], self.clock.now, self.clock.now, parent)

    def _ask(self, asked: list[tuple[Requester, Issuance | Renewal, Issued]]) -> None:
        outcomes = issue_all(self.world.authority, [prepare(who, wish) for who, wish, _ in asked])
        verdicts = [self.model.may_issue(expected) for _, _, expected in asked]
        self.requests += len(asked)
        for outcome, verdict, (_, wish, expected) in zip(outcomes, verdicts, asked, strict=True):
            if not isinstance(outcome, IssuedCertificate):
                assert isinstance(outcome, RevokedError | ExpiredError), repr(outcome)
                assert not verdict, f"the model lets it be issued, but: {outcome}"
                self._check_decision(outcome.decision, "refused", wish.request)
                continue
            assert verdict, f"the model refuses what was issued: {expected}"
            self._note(outcome.stored, expected)
            self._check_decision(outcome.stored.decision_id, "issued", wish.request)

    def _note(self, stored: StoredCertificate, expected: Issued) -> None:
        assert stored.issued_at == self.clock.now
        assert stored.serial not in self.stored
        expected.serial = stored.serial
        expected.end = stored.not_after + timedelta(seconds=1)
        self.model.certificates.append(expected)
        self.stored[stored.serial] = stored
        # Kept, so that later requests come from one who was authenticated long before them.
        self.requesters[stored.serial] = self.world.holder(stored)

    def _check_decision(self, decision_id: object, verdict: str, request: bytes) -> None:
        decision = self.world.decision(decision_id)
        assert decision.verdict == verdict
        assert decision.request_sha256 == prepare(OPERATOR, Issuance(None, "x", request)).request_sha256

    def _issuance(
        self, cluster: int, wish: Wish, key: int, lifetime: timedelta
    ) -> tuple[Requester, Issuance, Issued]:
        name = self.clusters[cluster]
        issuance = Issuance(name, wish.profile, wish.asked(key), wish.node, lifetime)
        return OPERATOR, issuance, self._expected(name, wish.holder, key, None)

    def _pick(self, number: int) -> Issued:
        return self.model.certificates[number % len(self.model.certificates)]

    issuances = st.tuples(
        st.integers(0, 1), st.sampled_from(WISHES), st.integers(0, KEYS - 1), st.sampled_from(LIFETIMES)
    )

    @rule(wanted=issuances)
    def issue(self, wanted: Wanted) -> None:
        self._ask([self._issuance(*wanted)])

    @rule(wanted=st.lists(issuances, min_size=2, max_size=4))
    def issue_a_batch(self, wanted: list[Wanted]) -> None:
        self._ask([self._issuance(*one) for one in wanted])

    @precondition(lambda self: self.model.certificates)
    @rule(number=st.integers(0, 30), key=st.integers(0, KEYS - 1), lifetime=st.sampled_from(LIFETIMES))
    def renew(self, number: int, key: int, lifetime: timedelta) -> None:
        self._renew(self._pick(number), key, lifetime)

    @precondition(lambda self: any(one.parent for one in self.model.certificates))
    @rule(number=st.integers(0, 30), key=st.integers(0, KEYS - 1))
    def renew_what_was_renewed(self, number: int, key: int) -> None:
        renewed = [one for one in self.model.certificates if one.parent is not None]
        self._renew(renewed[number % len(renewed)], key, LIFETIMES[1])

    def _renew(self, current: Issued, key: int, lifetime: timedelta) -> None:
        wish = Renewal(self.stored[current.serial], current.cluster, csr(key=key), lifetime)
        expected = self._expected(current.cluster, current.holder, key, current)
        self._ask([(self.requesters[current.serial], wish, expected)])

    @precondition(lambda self: any(one.holder == NODE_A for one in self.model.certificates))
    @rule(number=st.integers(0, 30), key=st.integers(0, KEYS - 1))
    def a_node_asks_for_itself(self, number: int, key: int) -> None:
        nodes = [one for one in self.model.certificates if one.holder == NODE_A]
        held = nodes[number % len(nodes)]
        wish = Issuance(held.cluster, OWN_SERVING.profile, OWN_SERVING.asked(key), OWN_SERVING.node)
        expected = self._expected(held.cluster, OWN_SERVING.holder, key, held)
        self._ask([(self.requesters[held.serial], wish, expected)])

    # Revocations.

    def _rules(self, drafts: list[Draft]) -> list[Rule]:
        return [self._rule(draft) for draft in drafts]

    def _rule(self, draft: Draft) -> Rule:
        value = draft.value or self._serial(draft.serial)
        return Rule(draft.kind, value, self._cut_off(draft.cut_off), draft.include_renewed)

    def _serial(self, number: int) -> str:
        if not self.model.certificates:
            return "1"
        # One time in two a certificate that others descend from.
        parents = [one.parent for one in self.model.certificates if one.parent is not None]
        return parents[number % len(parents)].serial if parents and number % 2 else self._pick(number).serial

    def _cut_off(self, number: int) -> datetime | None:
        now = self.clock.now
        fixed = (
            None,
            None,
            now,
            now - timedelta(minutes=30),
            now + timedelta(hours=2),
            now + timedelta(days=2),
        )
        if number < len(fixed) or not self.model.certificates:
            return fixed[number % len(fixed)]
        # Around the true time of issue of some certificate: the tick, and the second, that decide.
        offsets = (timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), timedelta(seconds=-1))
        return self._pick(number).issued_at + offsets[number % len(offsets)]

    def _scope(self, number: int) -> tuple[str, str | None]:
        return (EVERYWHERE, None) if number == 2 else (self.clusters[number], self.clusters[number])

    def _object(self, name: str, rules: list[Rule]) -> RenewRevocation:
        entries = tuple(
            Entry(EntryKind(one.kind), one.value, one.not_before, include_renewed=one.include_renewed)
            for one in rules
        )
        return RenewRevocation(name, entries=entries)

    @rule(scope=SCOPES, name=st.sampled_from("abc"), drafts=st.lists(DRAFTS, min_size=1, max_size=2))
    def revoke(self, scope: int, name: str, drafts: list[Draft]) -> None:
        self._revoke(scope, name, self._rules(drafts))

    @precondition(lambda self: any(one.parent for one in self.model.certificates))
    @rule(
        scope=SCOPES,
        name=st.sampled_from("abc"),
        number=_places,
        generation=st.integers(0, 3),
        renewed=st.booleans(),
    )
    def revoke_an_ancestor(self, scope: int, name: str, number: int, generation: int, renewed: bool) -> None:  # noqa: FBT001
        descendants = [one for one in self.model.certificates if one.parent is not None]
        one = descendants[number % len(descendants)]
        ancestors = list(one.ancestors())
        just_covered = one.issued_at + timedelta(microseconds=1)
        cut_off = (None, just_covered, one.issued_at, self.clock.now + timedelta(hours=2))[number % 4]
        serial = ancestors[generation % len(ancestors)].serial
        self._revoke(scope, name, [Rule("SerialNumber", serial, cut_off, renewed)])

    def _revoke(self, scope: int, name: str, rules: list[Rule]) -> None:
        where, cluster = self._scope(scope)
        try:
            create_revocation(self.world.authority, OPERATOR, cluster, self._object(name, rules))
        except ConflictError:
            assert (where, name) in self.model.objects
        else:
            assert (where, name) not in self.model.objects
            self.model.add(where, name, rules, self.clock.now)

    @precondition(lambda self: self.model.objects)
    @rule(number=st.integers(0, 30), drafts=st.lists(DRAFTS, min_size=1, max_size=2), keep=st.booleans())
    def replace_an_object(self, number: int, drafts: list[Draft], keep: bool) -> None:  # noqa: FBT001
        where, name = list(self.model.objects)[number % len(self.model.objects)]
        kept = self.model.objects[where, name] if keep else []
        rules = [*self._rules(drafts), *kept]
        replace_revocation(self.world.authority, OPERATOR, where or None, self._object(name, rules))
        self.model.replace(where, name, rules, self.clock.now)

    @precondition(lambda self: self.model.objects)
    @rule(number=st.integers(0, 30))
    def delete(self, number: int) -> None:
        where, name = list(self.model.objects)[number % len(self.model.objects)]
        delete_revocation(self.world.authority, OPERATOR, where or None, "kube-system", name)
        del self.model.objects[where, name]

    @rule(
        hours=st.sampled_from([0.0, 0.25, 0.6, 1.0, 2.0, 24.0, 48.0]), ticks=st.sampled_from([0, 1, 999_999])
    )
    def time_passes(self, hours: float, ticks: int) -> None:
        self.clock.advance(hours=hours, seconds=ticks / 1_000_000)

    @rule()
    def seal(self) -> None:
        seal(self.world.authority)

    @rule(leaves_well=st.booleans())
    def another_process_takes_over(self, leaves_well: bool) -> None:  # noqa: FBT001
        if leaves_well:
            self.world.authority.ledger.release(self.world.authority)
        # With the keys that are open already: to open them takes longer than all else that is done here.
        fresh = replace(self.world.authority, ledger=Ledger(), memory=Memory())
        self.world = World(fresh, self.clock)

    # What holds at all times.

    @invariant()
    def the_database_agrees_with_the_model(self) -> None:
        with self.world.authority.database.read() as connection:
            columns = certificates.c
            query = select(columns.serial, columns.revoked_at, columns.issued_at, columns.not_after)
            rows = connection.execute(query.where(columns.cluster_id.in_(self.cluster_ids))).all()
            query = select(decisions.c.id).where(decisions.c.cluster_id.in_(self.cluster_ids))
            recorded = len(connection.execute(query).all())
        assert recorded == self.requests
        assert len({row.serial for row in rows}) == len(rows) == len(self.model.certificates)
        found = {row.serial: row for row in rows}
        for certificate in self.model.certificates:
            row = found[certificate.serial]
            assert (row.revoked_at is not None) == certificate.revoked, certificate
            is_live = row.revoked_at is None and self.clock.now < row.not_after + timedelta(seconds=1)
            assert row.issued_at == certificate.issued_at
            assert not (is_live and self.model.bans(certificate)), f"live, but banned: {certificate}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_is_done_in_any_order_the_database_does_what_the_model_says(database_url: str) -> None:
    prepare_database(database_url, Clock())
    run_state_machine_as_test(
        type("MachineOnThisDatabase", (Machine,), {"url": database_url}),
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
    authority = make_authority(database_url, Clock())
    report = verified(authority, exported(authority))
    assert complaints(report) == []
    assert report.decisions > 400
    authority.database.dispose()
