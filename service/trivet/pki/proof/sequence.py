"""Chains and checkpoints, followed line by line: what is missing, changed, inserted or out of order is found here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.pki.keys import spki_sha256
from trivet.pki.proof.lines import AUDIT_CHAIN, AUDIT_OPENING, canonical, digest, is_signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trivet.pki.keys import PublicKey
    from trivet.pki.proof.lines import Line


@dataclass(slots=True)
class ChainState:
    """How far a chain was followed.

    Attributes:
        last: id of its last record, to name the place.
        sealed: the position up to which checkpoints vouch.
    """

    number: int
    head: str
    position: int = 0
    last: str | None = None
    sealed: int = 0
    is_closed: bool = False

    @property
    def place(self) -> str:
        """Where one is."""
        return place_of(self.number, self.position, self.last)


def place_of(chain: object, position: object = None, record: object = None) -> str:
    """A place, in words."""
    words = f"chain {chain}"
    if position:
        words += f", position {position}"
    return f"{words}, record {record}" if record else words


Finding = tuple[str, str]
"""A place, and what is wrong there."""


class Sequence:
    """The chains of an export, and the checkpoints that tie them together."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        """Take the keys that may have signed."""
        self._keys: Mapping[str, PublicKey] = {spki_sha256(key): key for key in keys}
        self.chains: dict[int, ChainState] = {}
        self.opened = 0
        self.records = 0
        self.checkpoint: Line | None = None
        self.checkpoint_sha256: str | None = None
        self.floors: dict[int, int] = {}

    def open(self, line: Line, raw: bytes) -> Iterator[Finding]:
        """Begin a chain."""
        number = line["chain"]
        place = place_of(number)
        if number != self.opened + 1:
            yield (
                place,
                f"chain {self.opened + 1} should be opened next: one is missing, twice, or out of order",
            )
        if raw != canonical(AUDIT_OPENING) and not (number != AUDIT_CHAIN and self._is_signed(line)):
            yield place, "it was not opened by the service authority (its opening was changed or forged)"
        self.opened = max(number, self.opened)
        self.chains[number] = ChainState(number, digest(raw))

    def record(self, line: Line, raw: bytes) -> Iterator[Finding]:
        """Go on by a record."""
        place = place_of(line["chain"], line["position"], line["id"])
        yield from self._step(line["chain"], line["position"], line["position"], line["previous"], place)
        self._stand(line["chain"], line["position"], digest(raw), line["id"])

    def omitted(self, line: Line) -> Iterator[Finding]:
        """Go on by records that are not shown: only that there were some, and the hash of the last."""
        place = place_of(line["chain"], f"{line['from']} to {line['to']}")
        yield from self._step(line["chain"], line["from"], line["to"], None, place)
        if line["pruned"] and line["to"] > self.floors.get(line["chain"], 0):
            yield place, "they are missing, and no checkpoint says that they were pruned"
        self._stand(line["chain"], line["to"], line["sha256"], None)

    def _step(
        self, number: int, first: int, last: int, previous: str | None, place: str
    ) -> Iterator[Finding]:
        chain = self.chains.get(number)
        if chain is None:
            yield place, "its chain was never opened, or was closed before this export begins"
            return
        if chain.is_closed:
            yield place, "it stands behind the end of a chain that a checkpoint has closed: it was inserted"
        elif first <= chain.position or last < first:
            yield place, f"it is out of order or was inserted: {chain.place} was there before it"
        elif first > chain.position + 1:
            yield place, f"records {chain.position + 1} to {first - 1} before it are missing"
        elif previous is not None and previous != chain.head:
            yield (
                place,
                f"the record before it ({chain.place}) is not the one that it came after: one was changed",
            )

    def _stand(self, number: int, position: int, head: str, record: str | None) -> None:
        chain = self.chains.setdefault(number, ChainState(number, head))
        if position > chain.position:
            self.records += position - chain.position
        chain.position, chain.head, chain.last = position, head, record

    def anchor(self, line: Line, raw: bytes) -> Iterator[Finding]:
        """Begin at a checkpoint instead of the first; the audit trail was followed from its beginning."""
        audit = self.chains.get(AUDIT_CHAIN, ChainState(AUDIT_CHAIN, ""))
        for listed in line["chains"]:
            if listed["chain"] != AUDIT_CHAIN:
                state = ChainState(
                    listed["chain"], listed["head"], listed["position"], None, listed["position"]
                )
                self.chains[state.number] = state
        self.opened = line["opened"]
        self.records = line["records"]
        self.checkpoint = {"number": line["number"] - 1}
        self.checkpoint_sha256 = line["previous"]
        self.chains[AUDIT_CHAIN] = audit
        yield from self.seal(line, raw)

    def seal(self, line: Line, raw: bytes) -> Iterator[Finding]:
        """Compare everything with what a checkpoint says."""
        place = f"checkpoint {line['number']}"
        if not self._is_signed(line):
            yield place, "it was not signed by the service authority (it was changed, replaced or forged)"
        expected = self.checkpoint["number"] + 1 if self.checkpoint else 1
        if line["number"] != expected:
            yield place, f"checkpoint {expected} should stand here: one is missing, twice, or out of order"
        elif line["previous"] != self.checkpoint_sha256:
            yield place, f"checkpoint {expected - 1} before it is not the one that it was made after"
        listed = {one["chain"]: one for one in line["chains"]}
        for number, one in listed.items():
            yield from self._compare(place, number, one)
        for number, chain in self.chains.items():
            if number not in listed and not chain.is_closed:
                yield (
                    place,
                    f"it does not know of {chain.place}: the chain was inserted, or removed when it was made",
                )
                chain.is_closed = True
        yield from self._counts(place, line)
        self.checkpoint, self.checkpoint_sha256 = line, digest(raw)

    def _compare(self, place: str, number: int, sealed: Line) -> Iterator[Finding]:
        chain = self.chains.get(number)
        if chain is None:
            yield place, f"it seals chain {number}, which is missing"
            chain = self.chains[number] = ChainState(number, "")
        elif chain.position < sealed["position"]:
            first = chain.position + 1
            yield (
                chain.place,
                f"records {first} to {sealed['position']} after it, which {place} seals, are missing",
            )
        elif chain.position > sealed["position"]:
            yield (
                chain.place,
                f"{place} seals the chain only up to {sealed['position']}: what follows was inserted",
            )
        elif chain.head != sealed["head"]:
            yield chain.place, f"it is not the record that {place} seals: it was changed"
        chain.position, chain.head = sealed["position"], sealed["head"]
        chain.sealed, chain.is_closed = sealed["position"], sealed["closed"]

    def _counts(self, place: str, line: Line) -> Iterator[Finding]:
        if line["opened"] != self.opened:
            yield place, f"it counts {line['opened']} chains, but {self.opened} were opened"
            self.opened = line["opened"]
        if line["records"] != self.records:
            yield place, f"it counts {line['records']} records, but there are {self.records}"
            self.records = line["records"]

    def prune(self, line: Line) -> Iterator[Finding]:
        """Take a checkpoint's word for it that records were pruned."""
        if not self._is_signed(line):
            yield f"checkpoint {line['number']}", "it was not signed by the service authority"
            return
        for one in line["pruned"]:
            self.floors[one["chain"]] = max(one["position"], self.floors.get(one["chain"], 0))

    def unsealed(self) -> Iterator[Finding]:
        """What no checkpoint vouches for, at the end."""
        for chain in self.chains.values():
            if chain.position > chain.sealed:
                yield chain.place, f"no checkpoint seals what follows position {chain.sealed}"

    def _is_signed(self, line: Line) -> bool:
        key = self._keys.get(line.get("key", ""))
        return key is not None and is_signed_by(line, key)
