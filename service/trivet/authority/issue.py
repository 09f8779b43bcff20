"""Issue and renew: the one way by which a certificate leaves Trivet.

In one transaction: take the revocation locks shared, read the entries that could match, decide, sign, check what was
signed, store it with its decision record, commit. Only then does it leave. The transaction takes a list; a lone
request is a list of one.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from trivet.authority.approval import gate as request_gate
from trivet.authority.issuance import application as applications
from trivet.authority.issuance.case import Case, IssuedCertificate, draft, each
from trivet.authority.issuance.certify import certify
from trivet.authority.issuance.qualify import judge_all, qualify
from trivet.authority.issuance.repeats import settle_keys, take_keys
from trivet.authority.issuance.results import results_of
from trivet.authority.metrics import measures, traces
from trivet.authority.repairs import gate as repair_gate
from trivet.authority.repairs import ground as repair_ground
from trivet.pki.errors import Refusal, UnavailableError
from trivet.store import clusters, issuing
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.authority.issuance.application import Application, Issuance, Renewal
    from trivet.authority.issuance.case import Outcome
    from trivet.pki.revocation import Key

__all__ = ["IssuedCertificate", "issue", "issue_all"]


def issue(authority: Authority, requester: Requester, wish: Issuance | Renewal) -> IssuedCertificate:
    """Sign one certificate, or refuse and leave a decision record.

    Raises:
        AccessDeniedError: the requester may not have this profile or name.
        RevokedError: an entry names the subject, a SAN, the key or the lineage.
        Refusal: any other of `pki.errors`.
    """
    application = applications.prepare(requester, wish, authority.engine.is_self_signed)
    outcome = issue_all(authority, [application])[0]
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def issue_all(authority: Authority, applications: Sequence[Application]) -> list[Outcome]:
    """Decide a batch in one transaction; each refusal concerns its own application only.

    Every step is taken of all applications before the next one: code that is warm in the processor's caches takes
    half the time (docs/performance.md).

    Raises:
        UnavailableError: the database cannot be reached; nothing was issued.
    """
    cases = [_begin(authority, application) for application in applications]
    # The chain's end moves on once the transaction has committed; the chain outlives the transaction.
    with authority.ledger.chain(authority) as chain, authority.database.write() as connection:
        began = perf_counter()
        for case in cases:
            _find_cluster(authority, connection, case)
        ground = issuing.read(connection, _wanted(cases))
        # Only now: what is read and timed after the lock sees every revocation acknowledged before it.
        now = authority.clock()
        repair = repair_ground.read_ground(authority, connection, cases, now)
        requests = request_gate.read_ground(connection, cases)
        each(cases, lambda case: qualify(authority, connection, case, ground, repair, requests, now))
        judge_all(connection, cases, ground, now)
        take_keys(authority, connection, cases, now)
        repair_gate.refuse_spent(cases)
        checked = perf_counter()
        certify(authority, cases, now)
        signed = perf_counter()
        repair_gate.use_up(connection, cases, now)
        settle_keys(connection, cases)
        results = results_of(authority, cases, ground.versions, now, chain)
        request_gate.settle(connection, cases, requests, now)
        issuing.write(connection, results, now)
    _measure(len(cases), checked - began, signed - checked, perf_counter() - signed)
    return [_counted(case) for case in cases]


def _measure(size: int, check: float, sign: float, commit: float) -> None:
    measures.batch(size)
    measures.phase("check", check)
    measures.phase("sign", sign)
    measures.phase("commit", commit)
    traces.batch_ended(("check", check), ("sign", sign), ("commit", commit))


def _begin(authority: Authority, application: Application) -> Case:
    """Do what needs no transaction, which for a cluster that this process knows is all but the decision."""
    case = Case(application)
    if application.wish.cluster is not None:
        case.cluster = authority.memory.clusters.get(application.wish.cluster)
    if case.cluster is not None or application.wish.cluster is None:
        draft(case)
    return case


def _counted(case: Case) -> Outcome:
    request_gate.count(case)
    # Every path above decides; never let an undecided case out.
    outcome = case.outcome or UnavailableError("the request was not decided")
    if isinstance(outcome, IssuedCertificate) and outcome.replayed:
        measures.replayed()
    else:
        refusal = outcome if isinstance(outcome, Refusal) else None
        measures.decided(case.cluster, case.application.profile_name, case.application.action, refusal)
    return outcome


def _find_cluster(authority: Authority, connection: Connection, case: Case) -> None:
    wanted = case.application.wish.cluster
    if wanted is None or case.cluster is not None:
        return
    case.cluster = clusters.find(connection, wanted)
    if case.cluster is not None:
        authority.memory.clusters.put(wanted, case.cluster)
    draft(case)


def _wanted(cases: Sequence[Case]) -> issuing.Wanted:
    vouchers: frozenset[UUID] = frozenset().union(*(case.application.vouching_ids for case in cases))
    keys: frozenset[Key] = frozenset().union(*(case.draft.keys for case in cases if case.draft is not None))
    return issuing.Wanted(
        scopes=frozenset(case.cluster.id for case in cases if case.cluster) | {ALL_CLUSTERS},
        authorities=frozenset(case.authority for case in cases if case.authority),
        vouchers=vouchers,
        tokens=frozenset(
            case.application.requester.token_id for case in cases if case.application.requester.token_id
        ),
        keys=keys,
    )
