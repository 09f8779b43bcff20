"""What clients remember of a trial: what they asked for, under which key, and every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from time import monotonic
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trivet.client.keys import build_request
from trivet.pki.keys import spki_sha256

CLOSED = 0  # the connection ended without an answer
HUNG = -1  # neither an answer nor an end of the connection within the client's patience
ISSUED, REFUSED, UNAVAILABLE = 201, 403, 503


class Answer(NamedTuple):
    """One request: when it began and ended (monotonic), and its status; what is odd about it, if anything."""

    began: float
    ended: float
    status: int
    oddity: str = ""


@dataclass(eq=False)
class Identity:
    """A node, until it is revoked, and afterwards.

    Attributes:
        revocation: the name of the object that revokes it, once one was sent.
        acknowledged: when its revocation was acknowledged, monotonic.
        acknowledged_at: the same, by the clock that certificates are dated by.
    """

    node: str
    received: int = 0
    revocation: str | None = None
    acknowledged: float | None = None
    acknowledged_at: datetime | None = None

    @property
    def common_name(self) -> str:
        return f"system:node:{self.node}"


@dataclass(eq=False)
class Wish:
    """A certificate that a client wants, under one Idempotency-Key and for one key pair of its own.

    Attributes:
        current: the serial of the certificate to be renewed; None for a new one.
        key: the Idempotency-Key.
        received: every certificate that came in answer, DER; more than one would be a fault.
        answers: to each try.
    """

    identity: Identity
    key: str
    current: str | None = None
    private_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    received: set[bytes] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = ["system:nodes"]
        self.csr = build_request(self.private_key, common_name=self.identity.common_name, organizations=names)
        self.spki_sha256 = spki_sha256(self.private_key.public_key())

    @property
    def is_open(self) -> bool:
        return not self.received and not self.is_refused

    @property
    def is_refused(self) -> bool:
        return any(answer.status == REFUSED for answer in self.answers)

    @property
    def tries_until_received(self) -> int:
        """How many requests it took to get the certificate; 0 without one."""
        return next((n for n, answer in enumerate(self.answers, 1) if answer.status == ISSUED), 0)

    @property
    def late(self) -> list[Answer]:
        """Certificates that were asked for and given after the revocation had been acknowledged."""
        acknowledged = self.identity.acknowledged
        if acknowledged is None:
            return []
        return [a for a in self.answers if a.status == ISSUED and a.began > acknowledged]

    def key_pem(self) -> bytes:
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Fault(NamedTuple):
    """What was done, and from when to when (monotonic)."""

    name: str
    began: float
    ended: float


class Journal:
    """Shared by all clients of a trial."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.revocations: list[Answer] = []
        self.live: list[Identity] = []
        self.revoked: list[Identity] = []
        self.faults: list[Fault] = []
        self._numbers = count(1)
        self._lock = threading.Lock()

    def new_identity(self) -> Identity:
        with self._lock:
            identity = Identity(f"n{next(self._numbers)}")
            self.live.append(identity)
        return identity

    def revoke(self, identity: Identity, when: float, clock: datetime) -> None:
        """Note that the revocation was acknowledged."""
        with self._lock:
            identity.acknowledged, identity.acknowledged_at = when, clock
            self.live.remove(identity)
            self.revoked.append(identity)

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Something is broken during the block."""
        began = monotonic()
        yield
        self.faults.append(Fault(name, began, monotonic()))

    def answers(self) -> list[Answer]:
        """To every request, by the time when it began."""
        found = [answer for wish in list(self.wishes) for answer in list(wish.answers)]
        return sorted([*found, *list(self.revocations)])

    def issued_since(self, moment: float) -> int:
        """How many certificates came for requests that began after a moment."""
        return sum(answer.status == ISSUED and answer.began >= moment for answer in self._recent())

    def unavailable_since(self, moment: float) -> int:
        """How many such requests were answered 503."""
        return sum(answer.status == UNAVAILABLE and answer.began >= moment for answer in self._recent())

    def _recent(self) -> list[Answer]:
        return [answer for wish in self.wishes[-200:] for answer in wish.answers[-50:]]

    def recoveries(self) -> list[float]:
        """For each fault the seconds from its end until requests succeed, and none fails any more."""
        answers = self.answers()
        ends = [fault.began for fault in self.faults[1:]] + [float("inf")]
        return [
            # What the next fault struck tells nothing of this one.
            _recovery([a for a in answers if fault.ended <= a.began and a.ended < following], fault.ended)
            for fault, following in zip(self.faults, ends, strict=True)
        ]


def _recovery(answers: list[Answer], since: float) -> float:
    first = min((answer.ended for answer in answers if answer.status == ISSUED), default=float("inf"))
    failed = [answer.ended for answer in answers if answer.status in {UNAVAILABLE, CLOSED, HUNG}]
    return max([first, *failed]) - since
