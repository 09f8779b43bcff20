"""The metrics that Trivet keeps about itself, each with its labels. `measures` alone changes them.

A label takes few values, and none that a client can make up: a cluster that was found in the database, a row of the
profile table, the slug of a refusal, the template of a route. Never a node, a serial number, an address, a requester.
"""

# ruff: noqa: E501  the table keeps its columns

from __future__ import annotations

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

SHARED_FOLDER: Final = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
"""Where this process leaves its figures for the other workers of its service; None where it is the only one.

prometheus_client looks at the variable once, when it is imported; so it is read here, at the same moment.
"""

# When each series began would double their number, and is nothing that workers could add up.
disable_created_metrics()

REGISTRY: Final = CollectorRegistry()

# From what a phase takes on a fast disk to what the revocation lock is waited for at most.
_PHASE = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


def _sum(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY, multiprocess_mode="livesum")


def _most(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY, multiprocess_mode="livemax")


def _least(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY, multiprocess_mode="livemin")


# fmt: off
DECISIONS = _counter("trivet_decisions_total", "Applications for certificates, by result: issued, or the slug of the refusal.", "cluster", "authority", "profile", "action", "result")
BATCH_SIZE = _histogram("trivet_batch_size", "Applications in one transaction.", _BATCH)
PHASES = _histogram("trivet_batch_phase_seconds", "Time of a batch: the longest wait in the queue, check, signatures, commit.", _PHASE, "phase")
WAITING = _sum("trivet_queue_waiting", "Applications that wait for the next batch.")
TURNED_AWAY = _counter("trivet_queue_turned_away_total", "Requests refused at once because too many were waiting.")
REPLAYS = _counter("trivet_idempotent_replays_total", "Requests answered with what the same Idempotency-Key had made.")
AUTHENTICATION = _counter("trivet_authentication_failures_total", "Requests of nobody who is known, by what was wrong.", "fault")
REVOCATIONS = _counter("trivet_revocation_changes_total", "RenewRevocation objects created, replaced, deleted.", "change", "scope")
ENTRIES = _counter("trivet_revocation_entries_added_total", "Revocation entries added.")
REVOKED = _counter("trivet_certificates_revoked_total", "Certificates marked as revoked.")
CERTIFICATE_REQUESTS = _counter("trivet_certificate_requests_total", "Certificate requests that came to a state: pending, approved, issued, denied, failed.", "cluster", "profile", "outcome")
COLLECTED = _counter("trivet_certificate_requests_collected_total", "Certificate requests removed because their time had come.")
DATABASE = _counter("trivet_database_errors_total", "Transactions that failed, by what was wrong.", "fault")
REQUESTS = _counter("trivet_http_requests_total", "HTTP requests that were answered.", "method", "route", "status")
REQUEST_TIMES = _histogram("trivet_http_request_seconds", "Time from the head of a request to the end of its answer.", _REQUEST, "method", "route")
IN_FLIGHT = _sum("trivet_http_requests_in_flight", "HTTP requests that are being answered.")
CHORES = _counter("trivet_chore_runs_total", "Chores that were done, or failed.", "chore", "result")
CHORE_DUE = _least("trivet_chore_due_timestamp_seconds", "When a chore falls due next; the earliest of all workers.", "chore")
HTTPS_END = _least("trivet_https_not_after_timestamp_seconds", "End of the service's own HTTPS certificate; the earliest of all workers.", "authority")
HTTPS_LIFETIME = _least("trivet_https_lifetime_seconds", "Lifetime of the service's own HTTPS certificate.", "authority")
AUDIT_FAULTS = _counter("trivet_audit_faults_total", "Records or checkpoints that the database lost or changed, found while sealing.")
CRLS = _counter("trivet_crls_published_total", "CRLs that were published.", "cluster", "authority")
CRL_TIMES = _histogram("trivet_crl_publish_seconds", "Time from beginning to make a CRL to its being stored.", _PHASE)
CRLS_FAILED = _counter("trivet_crls_failed_total", "CRLs that could not be made, or did not come out as planned, and were not published.")
WORKERS = _sum("trivet_workers", "Processes that answer requests.")
OCSP = _counter("trivet_ocsp_requests_total", "OCSP requests, by what was said: good, revoked, unknown, several, or an error of RFC 6960.", "result")
OCSP_RECALLED = _counter("trivet_ocsp_recalled_total", "OCSP requests answered with what was signed before.")
REVIEWS = _counter("trivet_access_reviews_total", "Questions of API servers whether a client certificate is revoked, by what was said: denied, noOpinion, stale.", "result")
# The names that Prometheus' own client libraries use.
MEMORY = _sum("process_resident_memory_bytes", "Resident memory of all workers.")
OPEN_FILES = _most("process_open_fds", "Open files of the worker that has most.")
PROCESSOR = _counter("process_cpu_seconds_total", "Processor time of all workers, also of those that ended.")
STARTED = _most("process_start_time_seconds", "When the youngest worker started.")
# fmt: on
