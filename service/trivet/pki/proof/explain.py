"""Was a serial number denied at a time, and by which entry? Answered from an export that was verified.

The entries come from `verify.Verification.history`; the export is read once more for the certificate and its lineage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.pki.judgement import read_identity
from trivet.pki.proof.entries import EVERYWHERE
from trivet.pki.proof.lines import parsed_time
from trivet.pki.revocation import EntryKind, Identity, matches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trivet.pki.proof.entries import HistoricEntry, History
    from trivet.pki.proof.lines import Line

MOST_REFUSALS: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a serial number at a time.

    Attributes:
        decision: by which it was issued; None where the export has none.
        denied_since: from when on the certificate was revoked; None where no entry had named it by then.
        entries: those that had named it by then, the oldest first.
        refusals: of requests that it vouched for, the last ones until then.
    """

    serial: str
    at: datetime
    decision: Line | None
    denied_since: datetime | None
    entries: tuple[HistoricEntry, ...]
    refusals: tuple[Line, ...]


@dataclass(slots=True)
class Explanation:
    """Reads an export for one serial number.

    Lineages are followed from the serial numbers that entries name, so that memory grows with what was renewed from
    revoked certificates, and not with all certificates.
    """

    history: History
    serial: str
    decision: Line | None = None
    refusals: list[Line] = field(default_factory=list)
    _tainted: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the certificates that are named themselves."""
        for entry in self.history.entries.values():
            if entry.entry.kind is EntryKind.SERIAL_NUMBER and entry.entry.include_renewed:
                self._tainted.setdefault(entry.entry.value, set()).add(entry.id)

    def feed(self, line: Line) -> None:
        """Take a decision of the export; those of parents come before those of what was renewed from them."""
        serial, parent = line["serialNumber"], line["parentSerialNumber"]
        if line["verdict"] == "issued" and serial is not None:
            if parent in self._tainted:
                self._tainted.setdefault(serial, set()).update(self._tainted[parent])
            if serial == self.serial:
                self.decision = line
        elif parent == self.serial:
            self.refusals.append(line)

    def answer(self, at: datetime) -> Answer:
        """What was known at that time."""
        named = sorted(self._naming(at), key=lambda entry: (entry.added.at, entry.id))
        refusals = [one for one in self.refusals if parsed_time(one["decidedAt"]) <= at]
        return Answer(
            self.serial,
            at,
            self.decision,
            named[0].added.at if named else None,
            tuple(named),
            tuple(refusals[-MOST_REFUSALS:]),
        )

    def _naming(self, at: datetime) -> Iterator[HistoricEntry]:
        if self.decision is None:
            issued_at, scopes, identity = None, None, None
        else:
            issued_at = parsed_time(self.decision["decidedAt"])
            scopes = {self.decision["cluster"], EVERYWHERE}
            names = read_identity(self.decision["identity"])
            identity = Identity(names.names, names.spki_sha256, frozenset({self.serial}), names.ancestors)
        tainted = self._tainted.get(self.serial, set())
        for entry in self.history.entries.values():
            if entry.added.at > at or (scopes is not None and entry.scope not in scopes):
                continue
            if issued_at is not None and not self._is_in_time(entry, issued_at):
                continue
            by_number = entry.id in tainted or (
                entry.entry.kind is EntryKind.SERIAL_NUMBER and entry.entry.value == self.serial
            )
            if by_number or (identity is not None and matches(entry.entry, identity)):
                yield entry

    @staticmethod
    def _is_in_time(entry: HistoricEntry, issued_at: datetime) -> bool:
        """Whether it revokes what was issued then: it covers that time, and was not gone by then."""
        return entry.entry.covers(issued_at) and (entry.removed is None or issued_at < entry.removed.at)
