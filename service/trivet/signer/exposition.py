"""The signer's metrics, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trivet.agent.exposition import family_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.agent.exposition import Labels
    from trivet.signer.record import Tallies

_COUNTED: Final = {
    "requests": "Requests that were decided, by signerName and result.",
    "retries": "Things that could not be done and are tried again, by reason.",
    "lists": "Times that all objects of a kind were read.",
    "watch_failures": "Times that a kind of objects could not be followed.",
    "revocations": "Changes of RenewRevocations in Trivet.",
    "faults": "Defects of the signer itself, which went on.",
}
_TIMES: Final = {
    "listed": "When all objects of a kind were last read.",
    "watched": "When a watch last told something.",
    "answered": "When Trivet, or the API server, last did what was asked.",
}


def exposition(tallies: Tallies, waiting: Mapping[str, int], about: Labels) -> str:
    """All metrics as text.

    Args:
        tallies: what was counted.
        waiting: how much there is to do, by kind of object.
        about: what the signer is: its cluster, and the version.
    """
    counts, times = dict(tallies.counts), dict(tallies.times)
    reasons = Counter(tallies.mirrored.copy().values())
    lines = [*family_lines("signer_about", "gauge", "The signer itself; always 1.", [(about, 1.0)])]
    for name, words in _COUNTED.items():
        samples = [(dict(labels), float(count)) for (of, labels), count in counts.items() if of == name]
        lines += family_lines(f"signer_{name}_total", "counter", words, samples)
    for name, words in _TIMES.items():
        samples = [(dict(labels), at.timestamp()) for (of, labels), at in times.items() if of == name]
        lines += family_lines(f"signer_{name}_timestamp_seconds", "gauge", words, samples)
    lines += family_lines(
        "signer_mirrored",
        "gauge",
        "RenewRevocations of the cluster, by how they stand in Trivet.",
        [({"reason": reason}, float(count)) for reason, count in reasons.items()],
    )
    lines += family_lines(
        "signer_waiting",
        "gauge",
        "Objects that are worked on or wait to be.",
        [({"resource": resource}, float(count)) for resource, count in waiting.items()],
    )
    return "".join(lines)
