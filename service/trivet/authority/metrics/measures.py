"""Count and time what Trivet does: one small function for each metric of `meters`, cheap enough for the hot path.

The series that a call changes is looked up once and kept. All functions may be called from any thread.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from trivet.authority.metrics import meters
from trivet.pki.kubernetes import ALL_PROFILES, SERVICE_PROFILE

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from prometheus_client import Counter, Histogram

    from trivet.pki.errors import Refusal
    from trivet.store.clusters import Cluster
    from trivet.store.engine import Failure

ISSUED: Final = "issued"
UNKNOWN: Final = "unknown"
Phase = Literal["wait", "check", "sign", "commit"]
AuthenticationFault = Literal["missing", "malformed", "unknown", "expired", "certificate", "message"]
RevocationChange = Literal["create", "replace", "delete"]

_ACTIONS: Final = frozenset({"issue", "renew"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})

# Made at once, so that a rate over them begins at 0 and not at the first fault.
_PHASES: Final = {name: meters.PHASES.labels(name) for name in ("wait", "check", "sign", "commit")}
_AUTHENTICATION: Final = {
    fault: meters.AUTHENTICATION.labels(fault)
    for fault in ("missing", "malformed", "unknown", "expired", "certificate", "message")
}
_DATABASE: Final = {fault: meters.DATABASE.labels(fault) for fault in ("unavailable", "busy", "conflict")}


class _Clusters:
    """Whether series tell clusters apart; in an installation of very many they need not."""

    told_apart = True


def tell_clusters_apart(*, wanted: bool) -> None:
    """Say whether series carry the names of clusters, before anything is counted."""
    _Clusters.told_apart = wanted
    _decision.cache_clear()
    _crls.cache_clear()


def tells_clusters_apart() -> bool:
    """Whether series carry the names of clusters."""
    return _Clusters.told_apart


def cluster_label(name: str | None) -> str:
    """The label of a cluster; empty, which Prometheus takes for absent, for Trivet's own authority."""
    return name if name is not None and _Clusters.told_apart else ""


def decided(cluster: Cluster | None, profile: str, action: str, refusal: Refusal | None) -> None:
    """Count an application that was decided.

    Args:
        cluster: as the database has it, so a name that was only asked for cannot become a label.
        profile: as it was asked for; what the profile table lacks is unknown. The authority follows from it.
        action: issue or renew.
        refusal: why not; None where the certificate was issued.
    """
    # Replaced before the look-up: what clients make up must not fill its memory either.
    name = cluster.name if cluster is not None else None
    known = profile if profile in ALL_PROFILES else UNKNOWN
    result = ISSUED if refusal is None else refusal.slug
    _decision(name, known, action if action in _ACTIONS else UNKNOWN, result).inc()


@cache
def _decision(cluster: str | None, profile: str, action: str, result: str) -> Counter:
    found = ALL_PROFILES.get(profile)
    is_known = cluster is not None or found is SERVICE_PROFILE
    return meters.DECISIONS.labels(
        cluster_label(cluster) if is_known else UNKNOWN,
        found.authority.value if found else UNKNOWN,
        profile,
        action,
        result,
    )


def batch(size: int) -> None:
    """Note how many applications one transaction decides."""
    meters.BATCH_SIZE.observe(size)


def phase(name: Phase, seconds: float) -> None:
    """Note how long a phase of a whole batch took; `wait` is that of the application that waited longest."""
    _PHASES[name].observe(seconds)


def waiting(depth: int) -> None:
    """Say how many applications wait for the next batch."""
    meters.WAITING.set(depth)


def turned_away() -> None:
    """Count a request that was refused at once, as too many were waiting."""
    meters.TURNED_AWAY.inc()


def replayed() -> None:
    """Count a request that was answered with what its Idempotency-Key had made."""
    meters.REPLAYS.inc()


def authentication_failed(fault: AuthenticationFault) -> None:
    """Count a request of nobody who is known."""
    _AUTHENTICATION[fault].inc()


def database_failed(fault: Failure) -> None:
    """Count a transaction that failed: the database was away, too busy, or another transaction was first."""
    _DATABASE[fault].inc()


def revocation_changed(change: RevocationChange, cluster: Cluster | None, *, added: int, marked: int) -> None:
    """Count a change of a RenewRevocation object, once it is committed.

    Args:
        change: what was done.
        cluster: where the object holds; None for all clusters.
        added: how many entries are new.
        marked: how many certificates were marked as revoked.
    """
    meters.REVOCATIONS.labels(change, "all" if cluster is None else "cluster").inc()
    meters.ENTRIES.inc(added)
    meters.REVOKED.inc(marked)


def request_changed(cluster: Cluster, profile: str, state: str) -> None:
    """Count a certificate request that came to a state: pending, approved, issued, denied, failed."""
    meters.CERTIFICATE_REQUESTS.labels(cluster_label(cluster.name), profile, state).inc()


def requests_collected(count: int) -> None:
    """Count certificate requests that were removed as their time had come."""
    meters.COLLECTED.inc(count)


def ocsp_answered(result: str, count: int = 1) -> None:
    """Count OCSP requests, by what was said of the certificate, or why nothing was said."""
    _ocsp(result).inc(count)


@cache
def _ocsp(result: str) -> Counter:
    return meters.OCSP.labels(result)


def ocsp_recalled(count: int) -> None:
    """Count OCSP requests that were answered with what was signed before."""
    meters.OCSP_RECALLED.inc(count)


def access_reviewed(result: str) -> None:
    """Count an answer to an API server: denied, noOpinion, or stale where too little was known."""
    _review(result).inc()


@cache
def _review(result: str) -> Counter:
    return meters.REVIEWS.labels(result)


def proof_is_damaged() -> None:
    """Count that the database no longer has what this process knows to be stored or sealed."""
    meters.AUDIT_FAULTS.inc()


def request_began() -> None:
    """Note that a request is being answered."""
    meters.IN_FLIGHT.inc()


def request_ended(method: str, route: str, status: int, seconds: float) -> None:
    """Note that a request was answered.

    Args:
        method: any but the usual ones is `other`.
        route: the template of its path, never the path itself.
        status: 0 where no answer was begun, 499 where the client had left.
        seconds: from the head of the request to the end of the answer.
    """
    meters.IN_FLIGHT.dec()
    known = method if method in _METHODS else "other"
    _requests(known, route, status).inc()
    _request_times(known, route).observe(seconds)


@cache
def _requests(method: str, route: str, status: int) -> Counter:
    return meters.REQUESTS.labels(method, route, str(status))


@cache
def _request_times(method: str, route: str) -> Histogram:
    return meters.REQUEST_TIMES.labels(method, route)


def chore_ended(name: str, *, failed: bool, due: datetime) -> None:
    """Note that a chore was done or failed, and when it falls due again."""
    meters.CHORES.labels(name, "failed" if failed else "done").inc()
    chore_due(name, due)


def chore_due(name: str, due: datetime) -> None:
    """Say when a chore falls due; one that stays undone shows as a time that lies ever further in the past."""
    meters.CHORE_DUE.labels(name).set(due.timestamp())


def https_certificate(not_after: datetime, lifetime: timedelta) -> None:
    """Say when the HTTPS certificate of this process ends, and how long it lives in all."""
    meters.HTTPS_END.labels("service").set(not_after.timestamp())
    meters.HTTPS_LIFETIME.labels("service").set(lifetime.total_seconds())


def crl_published(cluster: str, authority: str, seconds: float) -> None:
    """Count a CRL, or a shard of one, that was published; and the time that it took."""
    _crls(cluster, authority).inc()
    meters.CRL_TIMES.observe(seconds)


@cache
def _crls(cluster: str, authority: str) -> Counter:
    return meters.CRLS.labels(cluster_label(cluster), authority)


def crl_failed() -> None:
    """Count a CRL that could not be published."""
    meters.CRLS_FAILED.inc()
