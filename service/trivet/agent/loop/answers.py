"""What can come of a try to renew."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AnswerKind(StrEnum):
    """What came of it; also the `result` of logs and metrics."""

    RENEWED = "renewed"
    UNREACHABLE = "unreachable"
    BUSY = "unavailable"
    EXPIRED = "expired"
    STAGE_WAITS = "stageWaits"
    REVOKED = "revoked"
    REFUSED = "refused"
    NOT_AS_ASKED = "notAsAsked"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try to renew.

    Attributes:
        kind: in one word.
        reason: in words, for people; never with a secret.
        told: the seconds of a Retry-After, where the service sent one.
    """

    kind: AnswerKind
    reason: str = ""
    told: float | None = None
