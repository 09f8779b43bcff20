"""What the agent says of its work: the event, the words, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.agent.loop import AnswerKind

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.agent.journal import Journal
    from trivet.agent.loop import Answer, Held, Identity, Moment
    from trivet.agent.plan.model import CertificatePlan, PlannedCertificate
    from trivet.agent.probe import Seen
    from trivet.agent.revocation_lists import ListStanding


def rfc3339(moment: datetime) -> str:
    """A time as logs have it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Events:
    """Writes the lines that docs/agent.md explains."""

    journal: Journal
    plan: CertificatePlan

    def renewed(
        self, planned: PlannedCertificate, former: str, held: Held, identity: Identity, now: Moment
    ) -> None:
        """A new pair is in place."""
        self.journal.note(
            "renewed",
            f"{planned.name} is renewed",
            certificate=planned.name,
            profile=planned.profile.name,
            serial=held.serial,
            formerSerial=former,
            notAfter=rfc3339(held.validity.not_after),
            nextTry=_next_try(identity, now),
        )

    def list_refreshed(self, standing: ListStanding, told: dict[str, str], now: datetime) -> None:
        """A CRL was asked for; what was told of it already is not told again."""
        name = standing.planned.name
        if standing.changed:
            end = None if standing.next_update is None else rfc3339(standing.next_update)
            self.journal.note("listChanged", f"{name} holds a newer CRL", file=name, nextUpdate=end)
        words = "; ".join(standing.faults)
        worry = standing.worry(now)
        if words and told.get(f"list {name}") != words:
            self.journal.warn("listKept", f"{name} stays as it is: {words}", file=name)
        if worry and told.get(f"list {name} worry") != worry:
            self.journal.complain("listInDanger", f"{name}: {worry}", file=name, reason="listInDanger")
        told[f"list {name}"], told[f"list {name} worry"] = words, worry or ""

    def failed(self, planned: PlannedCertificate, answer: Answer, identity: Identity, now: Moment) -> None:
        """A try to renew came to nothing."""
        way_out = self._way_out(planned, answer.kind)
        words = f"{planned.name} could not be renewed: {answer.reason}"
        level = "error" if answer.kind in _WANT_A_HAND else "warning"
        self.journal.write(
            level,
            answer.kind.value,
            f"{words}; {way_out}" if way_out else words,
            certificate=planned.name,
            profile=planned.profile.name,
            serial=identity.held.serial if identity.held else None,
            reason=answer.kind.value,
            failures=identity.failures,
            notAfter=rfc3339(identity.held.validity.not_after) if identity.held else None,
            nextTry=_next_try(identity, now),
        )

    def _way_out(self, planned: PlannedCertificate, kind: AnswerKind) -> str:
        cluster = self.plan.cluster
        match kind:
            case AnswerKind.EXPIRED:
                return f"it waits for a repair window, which an administrator opens: trivet repair {cluster}"
            case AnswerKind.STAGE_WAITS:
                return "it waits for its turn in the repair"
            case AnswerKind.REVOKED:
                return (
                    f"its own key cannot renew it any more: an administrator opens a repair (trivet repair {cluster})"
                    f" and makes a one-time token (trivet repair token {cluster} {self.plan.node}), which"
                    " trivet repair-node --repair-token uses here"
                )
            case AnswerKind.FILES:
                return "the pair in place stays"
            case AnswerKind.NOT_AS_ASKED:
                return f"the pair in place stays; is {planned.name} asked of the right service?"
            case _:
                return ""

    def missing(self, planned: PlannedCertificate, reason: str) -> None:
        """There is no pair that could renew."""
        self.journal.complain(
            "missing",
            f"{planned.name} cannot be used: {reason}; run trivet provision",
            certificate=planned.name,
            profile=planned.profile.name,
            reason="missing",
        )

    def probed(
        self, planned: PlannedCertificate, seen: Seen, expected: str, *, settled: bool, was_new: bool
    ) -> None:
        """A probe looked; only what changed, or is over, is worth a line."""
        members = {"certificate": planned.name, "serial": expected, "served": seen.serial}
        if seen.sight == "new":
            if not was_new:
                self.journal.note("served", f"the endpoint serves the new {planned.name}", **members)
        elif settled and seen.sight == "other":
            words = f"the endpoint keeps serving another certificate than the new {planned.name}; restart the component"
            self.journal.complain("notServed", words, reason="notServed", **members)
        elif settled:
            words = f"whether {planned.name} is served cannot be seen: {seen.reason}"
            self.journal.warn("notSeen", words, reason="notSeen", **members)

    def jumped(self, by: timedelta) -> None:
        """Somebody set the wall clock."""
        direction = "forward" if by > timedelta(0) else "back"
        self.journal.warn(
            "clockJumped",
            f"the wall clock was set {direction} by {abs(by).total_seconds():.0f} s; nothing is thrown away for that",
            seconds=round(by.total_seconds()),
        )


_WANT_A_HAND = frozenset(
    {AnswerKind.EXPIRED, AnswerKind.REVOKED, AnswerKind.REFUSED, AnswerKind.NOT_AS_ASKED}
)


def _next_try(identity: Identity, now: Moment) -> str:
    wait = max(0.0, identity.next_try(now) - now.steady)
    return rfc3339(now.wall + timedelta(seconds=wait))
