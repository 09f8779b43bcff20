"""What a use case is given: database, keys, clock, randomness and the operator's choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from threading import Event
from typing import TYPE_CHECKING
from uuid import UUID

from trivet.authority.memory import Memory
from trivet.authority.proof.ledger import Ledger
from trivet.pki.repair import LONGEST_EXPIRED
from trivet.pki.serials import SERIAL_BITS, SerialNumber, serial_from_random
from trivet.pki.validity import BACKDATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from trivet.signing.encryption import KeyEncryptionKey
    from trivet.signing.engine import Engine
    from trivet.signing.file import Keyring
    from trivet.store.engine import Database


class LockoutGuard(StrEnum):
    """What happens to a revocation that would lock out a control plane."""

    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Publication:
    """How the status of certificates is published.

    Attributes:
        base_url: stands before `/pki/…` in certificates; None where they say nothing of their status.
        shards: in how many parts the CRL of an authority is split for the certificates that are issued from now on.
        has_ocsp: whether certificates name an OCSP responder.
        crl_lifetime: from thisUpdate to nextUpdate.
    """

    base_url: str | None = None
    shards: int = 1
    has_ocsp: bool = False
    crl_lifetime: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How many certificate requests there may be at once, so that a flood of them does no harm.

    Attributes:
        pending: that wait, of one requester.
        pending_in_cluster: that wait in a cluster; bootstrap tokens get the first half of these places only.
        kept: of one requester, with those decided within the last hour.
        kept_in_cluster: in a cluster, with those.
    """

    pending: int = 100
    pending_in_cluster: int = 5_000
    kept: int = 5_000
    kept_in_cluster: int = 10_000


class WhenStale(StrEnum):
    """What an API server is told of a client certificate when too little is known of what is revoked."""

    DENY = "deny"
    NO_OPINION = "no-opinion"


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """How old what is known of revoked certificates may be when an API server asks.

    Attributes:
        fresh: while the database can be read.
        stale: while it cannot.
        when_stale: what is said beyond that.
    """

    fresh: timedelta = timedelta(seconds=1)
    stale: timedelta = timedelta(minutes=5)
    when_stale: WhenStale = WhenStale.DENY


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's choices.

    Attributes:
        backdate: how far notBefore lies before the true time of issue.
        lockout_guard: accept a revocation that locks out a control plane with warnings, or only once confirmed.
        longest_expired: how long ago a certificate may have expired that renews in a repair window.
        retention: how long an expired certificate is kept; None where nothing is pruned.
        publication: how the status of certificates is published.
        hold_revoked_nodes: a node whose certificate was revoked by serial number or key waits for an approver.
        pin_inventory: a node's first serving request makes its entry in the inventory.
        requests: how many certificate requests there may be.
        reviews: how old what API servers are told may be.
    """

    backdate: timedelta = BACKDATE
    lockout_guard: LockoutGuard = LockoutGuard.WARN
    longest_expired: timedelta = LONGEST_EXPIRED
    retention: timedelta | None = None
    publication: Publication = field(default_factory=Publication)
    hold_revoked_nodes: bool = True
    pin_inventory: bool = False
    requests: RequestLimits = field(default_factory=RequestLimits)
    reviews: ReviewPolicy = field(default_factory=ReviewPolicy)


@dataclass(frozen=True, slots=True)
class Authority:
    """What every use case works with. Safe to share between threads.

    Attributes:
        clock: gives the time, aware and in UTC.
        random_bits: gives that many unpredictable bits, as `secrets.randbits` does.
        memory: what this process remembers of the database.
        ledger: the chains of decisions that this process writes to.
        news: set when a use case committed what CRLs should tell; whoever publishes waits for it and clears it.
    """

    database: Database
    keyring: Keyring
    key_encryption_key: KeyEncryptionKey
    clock: Callable[[], datetime]
    random_bits: Callable[[int], int]
    policy: Policy = field(default_factory=Policy)
    memory: Memory = field(default_factory=Memory)
    ledger: Ledger = field(default_factory=Ledger)
    news: Event = field(default_factory=Event)

    @property
    def engine(self) -> Engine:
        """Who verifies the signatures of requests, and signs."""
        return self.keyring.engine

    def new_serial(self) -> SerialNumber:
        """A random serial number of 159 bits."""
        while not (bits := self.random_bits(SERIAL_BITS)):
            continue
        return serial_from_random(bits)

    def new_id(self, now: datetime) -> UUID:
        """An id that sorts by time (UUIDv7, RFC 9562 section 5.7), so that indexes grow at one end."""
        milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
        version_and_variant = (7 << 76) | (2 << 62)
        random = self.random_bits(74)
        return UUID(
            int=(milliseconds << 80)
            | version_and_variant
            | ((random >> 62) << 64)
            | (random & ((1 << 62) - 1))
        )
