"""Verify an export: every hash, every checkpoint, and every decision against the entries that stood.

Lines are fed one by one; memory grows with the number of chains and of entries that ever stood, not with the records.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trivet.pki.proof.entries import Change, History
from trivet.pki.proof.lines import AUDIT_CHAIN, FORMAT, RESTORED, canonical, digest, parse, parsed_time
from trivet.pki.proof.sequence import Sequence, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trivet.pki.keys import PublicKey
    from trivet.pki.proof.lines import Line
    from trivet.pki.proof.sequence import Finding

MOST_FAULTS: Final = 100
"""How many faults are kept; all are counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where: the line of the export, and the place in the proof."""

    line: int
    place: str
    detail: str


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        faults: the first `MOST_FAULTS` of them; `faulty` counts all.
        decisions: how many were evaluated again.
        omitted: how many records the export does not show.
        checkpoint: number of the last checkpoint, its hash and time: what to keep elsewhere.
        restores: when the database was restored, from a backup of when, and the last checkpoint in that.
    """

    faults: list[Fault] = field(default_factory=list)
    faulty: int = 0
    decisions: int = 0
    changes: int = 0
    omitted: int = 0
    pruned: int = 0
    checkpoints: int = 0
    checkpoint: tuple[int, str, str] | None = None
    cluster: str | None = None
    restores: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faulty


class Verification:
    """Follows an export from its first line to its last."""

    def __init__(self, keys: Iterable[PublicKey], known: Mapping[int, str] | None = None) -> None:
        """Take the keys of the service authority, and checkpoints (number, hash) that must be there."""
        self.sequence, self.history, self.report = Sequence(keys), History(), Report()
        self._known = dict(known or {})
        self._hash = hashlib.sha256()
        self._line = 0
        self._has_ended = False
        self._anchor: int | None = None
        self._scopes: frozenset[str] | None = None
        self._changes: dict[tuple[str, int], tuple[str, Line]] = {}
        self._standing: dict[str, list[Any]] = {}
        self._sets: dict[str, int] = {}
        self._kinds: dict[str, Callable[[Line, bytes], Iterator[Finding]]] = {
            "export": self._begin,
            "pruning": self._pruning,
            "chain": self.sequence.open,
            "standing": self._stands,
            "entries": self._entries,
            "audit": self._audit,
            "decision": self._decision,
            "omitted": self._omitted,
            "checkpoint": self._checkpoint,
            "end": self._end,
        }

    def feed(self, raw: bytes) -> None:
        """Take the next line, without its line feed."""
        self._line += 1
        if (self._line == 1) != raw.startswith(b'{"anchor":'):
            self._fault(f"line {self._line}", "an export begins with its heading, and has one")
        try:
            line = parse(raw)
            for place, detail in self._kinds[line["type"]](line, raw):
                self._fault(place, detail)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
            self._fault(f"line {self._line}", f"it is not a line of an export: {reason[:200]}")
        self._hash.update(raw + b"\n")

    def finish(self) -> Report:
        """Take note that there are no more lines."""
        if not self._has_ended:
            self._fault("the end", "the export was cut off: its last line is missing")
        for place, detail in self.sequence.unsealed():
            self._fault(place, detail)
        for number in self._known:
            reason = "it is known from elsewhere, but is not in this export" + self._lost(number)
            self._fault(f"checkpoint {number}", reason)
        last = self.sequence.checkpoint
        if last is not None and self.sequence.checkpoint_sha256 is not None and "madeAt" in last:
            self.report.checkpoint = (last["number"], self.sequence.checkpoint_sha256, last["madeAt"])
        return self.report

    def _lost(self, checkpoint: int) -> str:
        """How a restore may explain that a checkpoint is not the one that was noted. It stays a fault."""
        for at, made_at, last in self.report.restores:
            if checkpoint > last:
                return (
                    f"; the database was restored at {at} from a backup of {made_at}, whose last checkpoint is {last}:"
                    " what was decided and sealed in between is lost"
                )
        return ""

    def _fault(self, place: str, detail: str) -> None:
        self.report.faulty += 1
        if len(self.report.faults) < MOST_FAULTS:
            self.report.faults.append(Fault(self._line, place, detail))

    def _begin(self, line: Line, raw: bytes) -> Iterator[Finding]:
        del raw
        if line["format"] != FORMAT:
            yield "the heading", f"this is an export of format {line['format']}; this Trivet knows {FORMAT}"
        self._anchor, self.report.cluster = line["anchor"], line["cluster"]
        self._scopes = frozenset(line["scopes"]) if line["scopes"] is not None else None

    def _pruning(self, line: Line, raw: bytes) -> Iterator[Finding]:
        del raw
        yield from self.sequence.prune(parse(line["checkpoint"].encode()))

    def _stands(self, line: Line, raw: bytes) -> Iterator[Finding]:
        del raw
        found = self._standing.setdefault(line["scope"], [hashlib.sha256(), []])
        found[0].update(canonical(line["entry"]) + b"\n")
        found[1].append(line["entry"])
        yield from ()

    def _entries(self, line: Line, raw: bytes) -> Iterator[Finding]:
        self._changes[line["scope"], line["version"]] = (digest(raw), line)
        yield from ()

    def _audit(self, line: Line, raw: bytes) -> Iterator[Finding]:
        self.report.changes += 1
        yield from self.sequence.record(line, raw)
        place = place_of(line["chain"], line["position"], line["id"])
        if line["chain"] != AUDIT_CHAIN:
            yield place, "the audit trail is chain 1"
        if line["action"] == "proof.begin":
            yield from self._beginning(line, place)
        if line["action"] == RESTORED:
            yield from self._restored(line, place)
        if "set" in line["details"]:
            yield from self._change(line, line["details"]["set"], place)

    def _beginning(self, line: Line, place: str) -> Iterator[Finding]:
        """The entries that stood when the proof began."""
        for one in line["details"]["sets"]:
            scope = one["scope"]
            self.history.versions[scope] = self._sets[scope] = one["version"]
            hashed, entries = self._standing.pop(scope, (hashlib.sha256(), []))
            if self._scopes is not None and scope not in self._scopes:
                continue
            if hashed.hexdigest() != one["sha256"]:
                yield (
                    place,
                    f"the entries of {scope} that stood when the proof began are not those that it names",
                )
            for entry in entries:
                self.history.add(scope, entry, self._as_change(line, one["version"]))
        for scope in self._standing:
            yield place, f"entries of {scope} are said to have stood, of which it does not know"
        self._standing.clear()

    def _restored(self, line: Line, place: str) -> Iterator[Finding]:
        """The proof goes on from a backup; the versions of the sets behind a gap, as some were taken since."""
        last = line["details"]["checkpoint"]
        self.report.restores.append(
            (line["recordedAt"], line["details"]["madeAt"], last["number"] if last else 0)
        )
        for one in line["details"]["sets"]:
            scope, version = one["scope"], one["version"]
            if version <= self.history.versions.get(scope, 0):
                yield place, f"the restore takes the entries of {scope} back to version {version}"
            self.history.versions[scope] = self._sets[scope] = version

    def _change(self, line: Line, changed: Line, place: str) -> Iterator[Finding]:
        """A version of a set: what it added and removed."""
        scope, version = changed["scope"], changed["version"]
        hashed, entries = self._changes.pop((scope, version), (None, {"added": (), "removed": ()}))
        where = f"{place} (version {version} of the entries of {scope})"
        if hashed != changed["sha256"]:
            yield (
                where,
                "the entries that are said to have been added and removed are not those that it names",
            )
        if version != self.history.versions.get(scope, 0) + 1:
            yield where, f"version {self.history.versions.get(scope, 0) + 1} should follow"
        self.history.versions[scope] = self._sets[scope] = version
        change = self._as_change(line, version)
        for entry in entries["added"]:
            self.history.add(scope, entry, change)
        for entry_id in entries["removed"]:
            if not self.history.remove(entry_id, change):
                yield where, f"the entry {entry_id} is removed, but did not stand"

    @staticmethod
    def _as_change(line: Line, version: int) -> Change:
        return Change(version, parsed_time(line["recordedAt"]), line["requester"], line["position"])

    def _decision(self, line: Line, raw: bytes) -> Iterator[Finding]:
        self.report.decisions += 1
        yield from self.sequence.record(line, raw)
        place = place_of(line["chain"], line["position"], line["id"])
        if line["chain"] == AUDIT_CHAIN:
            yield place, "the audit trail holds no decisions"
        for objection in self.history.objections(line, self._scopes):
            yield place, objection

    def _omitted(self, line: Line, raw: bytes) -> Iterator[Finding]:
        del raw
        count = line["to"] - line["from"] + 1
        if line["pruned"]:
            self.report.pruned += count
        else:
            self.report.omitted += count
            if self.report.cluster is None:
                place = place_of(line["chain"], f"{line['from']} to {line['to']}")
                yield place, "records are left out, though the export is of all clusters"
        yield from self.sequence.omitted(line)

    def _checkpoint(self, line: Line, raw: bytes) -> Iterator[Finding]:
        place = f"checkpoint {line['number']}"
        self.report.checkpoints += 1
        if self._known.pop(line["number"], digest(raw)) != digest(raw):
            yield place, "it is not the one that is known from elsewhere" + self._lost(line["number"])
        for scope, version in self._changes:
            yield (
                place,
                f"a change is shown of which no record tells: version {version} of the entries of {scope}",
            )
        self._changes.clear()
        if self._anchor is not None and self.sequence.checkpoint is None:
            if line["number"] != self._anchor:
                yield place, f"the export says that it begins at checkpoint {self._anchor}"
            yield from self.sequence.anchor(line, raw)
        else:
            yield from self.sequence.seal(line, raw)
            yield from self._compare_sets(line, place)
        self._sets.clear()

    def _compare_sets(self, line: Line, place: str) -> Iterator[Finding]:
        if self._scopes is not None:  # the changes of other scopes are not shown
            return
        if {one["scope"]: one["version"] for one in line["sets"]} != self._sets:
            yield place, "the versions of the revocation sets are not those that the audit trail tells"

    def _end(self, line: Line, raw: bytes) -> Iterator[Finding]:
        del raw
        last = self.sequence.checkpoint["number"] if self.sequence.checkpoint else None
        found = {"type": "end", "lines": self._line - 1, "checkpoint": last, "sha256": self._hash.hexdigest()}
        if self._has_ended or line != found:
            yield "the end", "it does not end what stands above it: lines were changed, added or removed"
        self._has_ended = True
