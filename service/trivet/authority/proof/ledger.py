"""Chains of decisions: each transaction that decides has one in its hands, so that none waits for another.

A chain is opened with a signature of the service authority, so that nobody else can begin one. Where the outcome of a
COMMIT is not known its chain is left where it is, and the next transaction begins another.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.issuance.certify import signers_at_work
from trivet.pki.keys import spki_sha256
from trivet.pki.pem import from_der
from trivet.pki.profiles import AuthorityName
from trivet.pki.proof.lines import time_text, to_be_signed, with_signature
from trivet.store import authorities, chains
from trivet.store.chains import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.store.chains import Checkpoint, Head

TRUST: Final = timedelta(minutes=5)
"""How long a writer uses a chain that it could not renew."""

LEASE: Final = timedelta(minutes=15)
"""After that much silence a checkpoint closes a chain: whoever wrote to it is dead, or has let go of it long ago."""


class Ledger:
    """The chains that this process writes to. Safe to share between threads."""

    def __init__(self) -> None:
        """Hold none yet."""
        self._lock = threading.Lock()
        self._idle: list[Chain] = []
        self._held: dict[int, Chain] = {}
        self._checkpoint: Checkpoint | None = None

    @contextmanager
    def chain(self, authority: Authority) -> Iterator[Chain]:
        """A chain for one transaction, which must end within the block.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        chain = self._take(authority.clock()) or self._keep(open_chain(authority))
        try:
            yield chain
        except BaseException:
            self._put_back(chain)
            raise
        chain.settle()
        self._put_back(chain)

    def renew(self, authority: Authority) -> None:
        """Keep the chains of this process open, and let go of those that others have closed."""
        with self._lock:
            numbers = list(self._held)
        if not numbers:
            return
        with authority.database.write() as connection:
            now = authority.clock()
            renewed = chains.expire(connection, numbers, now + LEASE)
        with self._lock:
            for number in numbers:
                if number in renewed and number in self._held:
                    self._held[number].trusted_until = now + TRUST
                else:
                    self._forget(number)

    def release(self, authority: Authority) -> None:
        """Let go of all chains that no transaction holds, so that the next checkpoint closes them."""
        with self._lock:
            numbers = [chain.number for chain in self._idle]
            for number in numbers:
                self._forget(number)
        with authority.database.write() as connection:
            chains.expire(connection, numbers, authority.clock())

    def heads(self) -> dict[int, Head]:
        """The last record of each chain that this process knows to be stored."""
        with self._lock:
            return {number: chain.head for number, chain in self._held.items()}

    def newest(self, stored: Checkpoint | None) -> Checkpoint | None:
        """The newest checkpoint that this process has seen: what was sealed stays so, whatever the database says."""
        with self._lock:
            if stored is not None and (self._checkpoint is None or self._checkpoint.number < stored.number):
                self._checkpoint = stored
            return self._checkpoint

    def _take(self, now: datetime) -> Chain | None:
        with self._lock:
            while self._idle:
                chain = (
                    self._idle.pop()
                )  # the one that was used last: few chains are enough for most of the time
                if now < chain.trusted_until:
                    return chain
                self._forget(chain.number)
        return None

    def _keep(self, chain: Chain) -> Chain:
        with self._lock:
            self._held[chain.number] = chain
        return chain

    def _put_back(self, chain: Chain) -> None:
        with self._lock:
            if chain.is_in_doubt:
                self._forget(chain.number)
            elif chain.number in self._held:
                self._idle.append(chain)

    def _forget(self, number: int) -> None:
        chain = self._held.pop(number, None)
        if chain in self._idle:
            self._idle.remove(chain)


def open_chain(authority: Authority) -> Chain:
    """Begin a chain of decisions.

    Raises:
        UnavailableError: the database cannot be reached, or the service authority's key does not open.
    """
    with authority.database.write() as connection:
        number = chains.lock_opening(connection)
        now = authority.clock()
        last = chains.last_checkpoint(connection)
        after = {"checkpoint": last.number, "sha256": last.sha256} if last else None
        body = {
            "type": "chain",
            "kind": "decisions",
            "chain": number,
            "openedAt": time_text(now),
            "after": after,
        }
        head = chains.add(connection, number, signed(authority, connection, body), now, now + LEASE)
    return Chain(number, (0, head), now + TRUST)


def signed(authority: Authority, connection: Connection, body: dict[str, Any]) -> bytes:
    """A line with the signature of the service authority.

    Raises:
        UnavailableError: its key does not open.
    """
    generation = authorities.active_generation(connection, None, AuthorityName.SERVICE)
    with signers_at_work():
        signer = authority.keyring.signer(generation.id, generation.certificate, generation.private_key)
    line = {**body, "key": spki_sha256(from_der(generation.certificate).public_key())}
    return with_signature(line, signer.sign(to_be_signed(line)))
