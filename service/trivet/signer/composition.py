"""Puts a signer together from what the command was given."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final

from trivet.agent.clocks import since_boot
from trivet.signer.asking import Asking
from trivet.signer.cluster import Cluster
from trivet.signer.informer import Informer
from trivet.signer.judging import is_open
from trivet.signer.mirroring import SWEEP, Mirroring
from trivet.signer.record import Record
from trivet.signer.resources import CERTIFICATE_SIGNING_REQUESTS, RENEW_REVOCATIONS
from trivet.signer.runner import Controller, Signer
from trivet.signer.signing import Signing
from trivet.signer.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trivet.agent.exposition import Labels
    from trivet.agent.journal import Journal
    from trivet.client import Endpoint
    from trivet.pki.profiles import Profile

_SIGNING_WORKERS: Final = 4


def compose(
    endpoint: Callable[[], Endpoint],
    kubeconfig: Path,
    profiles: Mapping[str, Profile],
    journal: Journal,
    about: Labels,
    publish: Callable[[str], None],
    *,
    mirrors: bool,
    steady: Callable[[], float] = since_boot,
) -> Signer:
    """Make a signer.

    Args:
        endpoint: where Trivet is and who asks, read anew for each question.
        kubeconfig: how to reach the cluster's API server.
        profiles: by the signerNames that are ours; none for not signing at all.
        journal: takes the log.
        about: what it is, with the cluster's name.
        publish: takes the metrics.
        mirrors: whether RenewRevocations are mirrored.
        steady: a clock that nobody sets.
    """
    cluster, asking, record = Cluster(kubeconfig), Asking(endpoint, about["cluster"]), Record(journal)
    controllers = []
    if profiles:
        controllers.append(_signing(cluster, asking, record, profiles, steady))
    if mirrors:
        controllers.append(_mirroring(cluster, asking, record, steady))

    def close() -> None:
        cluster.close()
        asking.close()

    return Signer(controllers, record, about, publish, steady, close)


def _signing(
    cluster: Cluster,
    asking: Asking,
    record: Record,
    profiles: Mapping[str, Profile],
    steady: Callable[[], float],
) -> Controller:
    queue = WorkQueue(steady, SystemRandom())
    informer = Informer(
        cluster,
        CERTIFICATE_SIGNING_REQUESTS,
        lambda found: is_open(found, profiles),
        queue.add,
        record,
        SystemRandom(),
    )
    work = Signing(cluster, asking, informer, profiles, record, record.journal.now)
    return Controller(informer, queue, work, record, _SIGNING_WORKERS)


def _mirroring(cluster: Cluster, asking: Asking, record: Record, steady: Callable[[], float]) -> Controller:
    queue = WorkQueue(steady, SystemRandom())
    informer = Informer(
        cluster,
        RENEW_REVOCATIONS,
        lambda _: True,
        queue.add,
        record,
        SystemRandom(),
        listed=lambda: queue.add(SWEEP),
    )
    work = Mirroring(cluster, asking, informer, queue.add, record, record.journal.now)
    # One, so that what is lifted and what comes in its place keep their order.
    return Controller(informer, queue, work, record, workers=1, sweeps=True)
