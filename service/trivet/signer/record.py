"""What the signer says of its work: a line of its log, and what is counted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.agent.journal import Journal
    from trivet.signer.work_queue import Later

Labels = tuple[tuple[str, str], ...]


@dataclass
class Tallies:
    """What is counted, and when something was last heard; by the metric's name and its labels."""

    counts: Counter[tuple[str, Labels]] = field(default_factory=Counter)
    times: dict[tuple[str, Labels], datetime] = field(default_factory=dict)
    mirrored: dict[str, str] = field(default_factory=dict)
    """How each RenewRevocation of the cluster stands, by its key."""


@dataclass
class Record:
    """Writes the lines that docs/signer.md explains, and counts. Safe to share between threads."""

    journal: Journal
    tallies: Tallies = field(default_factory=Tallies)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _told: dict[str, str] = field(default_factory=dict)

    def say(self, level: str, event: str, message: str, **members: Any) -> None:  # noqa: ANN401  any JSON value
        """Write one line."""
        with self._lock:
            self.journal.write(level, event, message, **members)

    def count(self, name: str, **labels: str) -> None:
        """One more of it."""
        with self._lock:
            self.tallies.counts[name, tuple(sorted(labels.items()))] += 1

    def heard(self, of: str, **labels: str) -> None:
        """Somebody answered just now."""
        with self._lock:
            self.tallies.times[of, tuple(sorted(labels.items()))] = self.journal.now()

    def stands(self, key: str, how: str | None) -> None:
        """How a RenewRevocation of the cluster stands now; None where it is gone."""
        with self._lock:
            if how is None:
                self.tallies.mirrored.pop(key, None)
            else:
                self.tallies.mirrored[key] = how

    def issued(self, signer_name: str, name: str, serial: str, request_uid: str) -> None:
        """A certificate stands in the status of a request."""
        self.count("requests", signer_name=signer_name, result="issued")
        self.say("info", "issued", f"{name} has its certificate", request=name, uid=request_uid,
                 signerName=signer_name, serial=serial)  # fmt: skip

    def failed(self, signer_name: str, name: str, message: str, request_uid: str) -> None:
        """A request was refused for good."""
        self.count("requests", signer_name=signer_name, result="failed")
        self.say("warning", "failed", f"{name} is refused for good: {message}", request=name, uid=request_uid,
                 signerName=signer_name)  # fmt: skip

    def put_off(self, plural: str, key: str, later: Later, wait: float) -> None:
        """Something is tried again."""
        self.count("retries", resource=plural, reason=later.reason)
        what = "nothing is asked" if later.for_all else f"{key} waits"
        level = "info" if later.reason == "conflict" else "warning"
        self.say(level, "putOff", f"{later.message}; {what} for {wait:.1f} s",
                 resource=plural, object=key, reason=later.reason)  # fmt: skip

    def fault(self, plural: str, key: str, error: Exception) -> None:
        """A defect of the signer itself; nothing else is to end by it."""
        self.count("faults")
        words = f"a fault in the signer itself: {type(error).__name__}; it goes on"
        self.say("error", "fault", words, resource=plural, object=key, reason="fault")

    def listed(self, plural: str, items: int) -> None:
        """All objects of a kind were read."""
        self.count("lists", resource=plural)
        with self._lock:
            again = self._told.pop(plural, None) is not None
        self.say(
            "info",
            "listed",
            f"{items} {plural} concern this signer",
            resource=plural,
            recovered=again or None,
        )

    def not_heard(self, plural: str, words: str) -> None:
        """A kind of object cannot be followed; said once for the same words."""
        self.count("watch_failures", resource=plural)
        with self._lock:
            is_new = self._told.get(plural) != words
            self._told[plural] = words
        if is_new:
            self.say("warning", "notHeard", f"{plural}: {words}; it is tried again", resource=plural)
