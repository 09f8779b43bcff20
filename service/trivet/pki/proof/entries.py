"""The history of revocation entries: which stood at a version of a set, and what they say of a decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from trivet.pki.judgement import bars, comes_into_question, compared_keys, read_identity, read_voucher
from trivet.pki.kubernetes import ALL_PROFILES
from trivet.pki.profiles import AuthorityName
from trivet.pki.proof.lines import parsed_time
from trivet.pki.revocation import Entry, EntryKind, entry_keys, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from trivet.pki.judgement import Voucher
    from trivet.pki.proof.lines import Line
    from trivet.pki.revocation import Key

_CLOCKS: Final = timedelta(minutes=5)  # by which those of hosts may differ; inside it nothing is concluded

EVERYWHERE: Final = str(UUID(int=0))
"""The scope of entries that hold in all clusters."""


@dataclass(frozen=True, slots=True)
class Change:
    """When an entry was added or removed, by whom, and the position of the audit record that says so."""

    version: int
    at: datetime
    by: str
    position: int

    @property
    def is_baseline(self) -> bool:
        """Whether it only says what stood when the proof began; since when is not known."""
        return self.position == 1


@dataclass(slots=True)
class HistoricEntry:
    """An entry with the changes between which it stood.

    Attributes:
        is_unclear: something was decided after it was added, but by a clock at an earlier time; its time says little.
    """

    id: str
    scope: str
    object_name: str
    entry: Entry
    added: Change
    removed: Change | None = None
    is_unclear: bool = False

    def stood_in(self, version: int) -> bool:
        """Whether it stood in that version of its set."""
        return self.added.version <= version and (self.removed is None or version < self.removed.version)

    def stood_at(self, moment: datetime) -> bool:
        """Whether it stood at that time."""
        return self.added.at <= moment and (self.removed is None or moment < self.removed.at)


class History:
    """All entries that ever stood. Its memory grows with them, not with the decisions."""

    def __init__(self) -> None:
        """Nothing ever stood."""
        self.entries: dict[str, HistoricEntry] = {}
        self.versions: dict[str, int] = {}
        self._by_key: dict[Key, list[HistoricEntry]] = {}
        self._newest: dict[str, datetime] = {}

    def add(self, scope: str, described: Mapping[str, Any], change: Change) -> None:
        """Let an entry stand.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        not_before = described["notBefore"]
        entry = Entry(
            EntryKind(described["kind"]),
            described["value"],
            parsed_time(not_before) if not_before is not None else None,
            include_renewed=described["includeRenewed"],
        )
        found = HistoricEntry(described["id"], scope, described["revocation"], entry, change)
        self.entries[found.id] = found
        self._newest[scope] = max(change.at, self._newest.get(scope, change.at))
        for key in entry_keys(entry):
            self._by_key.setdefault(key, []).append(found)

    def remove(self, entry_id: str, change: Change) -> bool:
        """Let an entry stand no longer; whether it stood."""
        found = self.entries.get(entry_id)
        if found is None or found.removed is not None:
            return False
        found.removed = change
        return True

    def all_ever(self, keys: frozenset[Key]) -> list[HistoricEntry]:
        """The entries found under one of the keys, whether they stand or not."""
        return list({entry.id: entry for key in keys for entry in self._by_key.get(key, ())}.values())

    def candidates(self, keys: frozenset[Key], versions: Mapping[str, int]) -> Iterator[HistoricEntry]:
        """The entries found under one of the keys that stood in those versions of the sets."""
        for entry in self.all_ever(keys):
            if entry.scope in versions and entry.stood_in(versions[entry.scope]):
                yield entry

    def objections(self, decision: Line, scopes: frozenset[str] | None = None) -> Iterator[str]:
        """What is wrong with a decision, if the entries that stood are asked again.

        Args:
            decision: its line.
            scopes: of which the history is known; None for all.

        Raises:
            KeyError, TypeError, ValueError: the record lacks something.
        """
        if decision["cluster"] is None or decision["clusterVersion"] is None:
            yield from _without_entries(decision)
            return
        versions = {decision["cluster"]: decision["clusterVersion"], EVERYWHERE: decision["globalVersion"]}
        for scope, version in list(versions.items()):
            if scopes is not None and scope not in scopes:
                del versions[scope]
            elif version > self.versions.get(scope, 0):
                yield f"it was decided on version {version} of the entries of {scope}, which the audit trail lacks"
        self._compare_clocks(parsed_time(decision["decidedAt"]), versions)
        yield from self._compared(decision, versions)

    def _compare_clocks(self, decided_at: datetime, versions: Mapping[str, int]) -> None:
        """Note which entries were added before a decision, though the clocks say otherwise."""
        for scope, version in versions.items():
            if scope not in self._newest or decided_at >= self._newest[scope] - _CLOCKS:
                continue
            for found in self.entries.values():
                is_before = found.scope == scope and found.added.version <= version
                if is_before and decided_at < found.added.at - _CLOCKS:
                    found.is_unclear = True

    def _compared(self, decision: Line, versions: Mapping[str, int]) -> Iterator[str]:
        identity = read_identity(decision["identity"])
        described = decision["identity"].get("voucher")
        voucher = read_voucher(described) if described is not None else None
        keys, now = compared_keys(identity, voucher), parsed_time(decision["decidedAt"])
        recorded = {one["entry"]: one["matched"] for one in decision["considered"]}
        for found in self.candidates(keys, versions):
            if not comes_into_question(found.entry, keys):
                continue
            barred = bars(found.entry, identity, voucher, now)
            said = recorded.pop(found.id, None)
            if said is None:
                yield f"it did not consider the entry {found.id}, which stood"
            elif said != barred:
                yield f"it says of the entry {found.id} that it {_matched(said)}, but it {_matched(barred)}"
        for entry_id in recorded:
            known = self.entries.get(entry_id)
            if known.scope in versions if known else len(versions) > 1:
                yield f"it considered the entry {entry_id}, which did not stand or does not come into question"
        if voucher is not None and decision["verdict"] == "issued":
            yield from self._marked(voucher, keys, versions)
        yield from _verdict(decision)

    def _marked(self, voucher: Voucher, keys: frozenset[Key], versions: Mapping[str, int]) -> Iterator[str]:
        """A certificate that an entry named stays revoked though the entry was removed, and vouches no more."""
        for found in self.all_ever(keys):
            if found.scope not in versions or found.removed is None or found.is_unclear:
                continue  # one that stands was asked already
            if found.removed.version > versions[found.scope]:
                continue
            later = found.added.at > voucher.issued_at + _CLOCKS and not found.added.is_baseline
            if later and matches(found.entry, voucher.identity) and found.entry.covers(voucher.issued_at):
                yield f"it was issued, though the entry {found.id} had revoked the certificate that vouched for it"


def _matched(matched: bool) -> str:  # noqa: FBT001
    return "names the request" if matched else "does not name the request"


def _without_entries(decision: Line) -> Iterator[str]:
    if decision["verdict"] != "issued":
        return
    profile = ALL_PROFILES.get(decision["profile"])
    # What the service authority signs belongs to no cluster, and so no entry names it.
    if decision["cluster"] is not None or profile is None or profile.authority is not AuthorityName.SERVICE:
        yield "it was issued without a look at the revocation entries"


def _verdict(decision: Line) -> Iterator[str]:
    matched = any(one["matched"] for one in decision["considered"])
    if matched and decision["verdict"] == "issued":
        yield "it was issued though an entry names the request"
    if matched != (decision["reason"] == "revoked") and decision["verdict"] != "issued":
        yield f"it was refused for {decision['reason']}, but {'an' if matched else 'no'} entry names the request"
