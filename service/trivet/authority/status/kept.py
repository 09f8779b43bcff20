"""The signed answers that a process keeps, given out again only where they still hold."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from trivet.authority.metrics import measures
from trivet.pki.errors import Refusal
from trivet.store import status
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.status.replies import Answerable, Kept, Question, Reply
    from trivet.authority.status.signers import Responders

MOST_KEPT: Final = 8192  # about 3 kB each


class KeptAnswers:
    """The answers that were asked for last. Not to be shared between threads."""

    def __init__(self, authority: Authority, responders: Responders, most: int = MOST_KEPT) -> None:
        """Keep nothing yet, and never more than `most`."""
        self._authority = authority
        self._responders = responders
        self._most = most
        self._kept: OrderedDict[Question, Kept] = OrderedDict()

    def get(self, question: Question) -> Kept | None:
        """What was kept; whether it still holds is for the caller to find out."""
        return self._kept.get(question)

    def put(self, question: Question, kept: Kept) -> None:
        """Keep an answer, in the place of the one that was used longest ago."""
        self._kept[question] = kept
        self._kept.move_to_end(question)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def recall(self, questions: Sequence[Question], now: datetime) -> list[Reply | None]:
        """Give the answers that still hold, after one look at the versions; None for all others.

        Raises:
            UnavailableError: the database cannot be reached, so nobody knows what holds.
        """
        kept = [self._kept.get(question) for question in questions]
        places = {one.place.generation.id: one.place for one in kept if one is not None}
        if not places:
            return [None] * len(kept)
        signers = {generation: self._signer(place, now) for generation, place in places.items()}
        scopes = {place.scope for place in places.values()} | {ALL_CLUSTERS}
        with self._authority.database.glance() as connection:
            versions = status.versions(connection, scopes)
        of_all = versions[ALL_CLUSTERS]
        standing = {
            generation: (signers[generation], (versions[place.scope], of_all))
            for generation, place in places.items()
        }
        recalled = [
            self._holding(question, one, standing, now) for question, one in zip(questions, kept, strict=True)
        ]
        measures.ocsp_recalled(len(recalled) - recalled.count(None))
        return recalled

    def _signer(self, place: Answerable, now: datetime) -> UUID | None:
        try:
            return self._responders.current(place, now).stored.certificate_id
        except Refusal:  # told where it is signed anew
            return None

    def _holding(
        self,
        question: Question,
        kept: Kept | None,
        standing: dict[UUID, tuple[UUID | None, tuple[int, int]]],
        now: datetime,
    ) -> Reply | None:
        if kept is None or not kept.holds_at(now):
            return None
        if (kept.responder, kept.versions) != standing[kept.place.generation.id]:
            return None
        self._kept.move_to_end(question)
        return kept.reply
