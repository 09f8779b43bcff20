"""What a process remembers of the database: only what never changes there, or is looked at again when it counts.

A cluster and a generation never change once they are made. An access token may be deleted: whoever was known by a
remembered one is looked up again within the transaction that issues (`authority.issue`), and before anything else is
done by its role it is read anew (`authenticate.authenticate_token`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from trivet.store import authorities

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.authority.status.issuers import PublishedIssuer
    from trivet.pki.repair import Stage
    from trivet.store.authorities import Authority as Owner
    from trivet.store.authorities import Generation
    from trivet.store.clusters import Cluster
    from trivet.store.tokens import Token

_K = TypeVar("_K")
_V = TypeVar("_V")
_MOST = 16_384


class Remembered(Generic[_K, _V]):
    """The values that were used last, by key; safe to share between threads."""

    def __init__(self, most: int = _MOST) -> None:
        """Remember nothing yet, and never more than `most`."""
        self._most = most
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        """The value, if it is remembered."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: _K, value: _V) -> None:
        """Remember a value."""
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def forget(self, key: _K) -> None:
        """Remember it no longer."""
        with self._lock:
            self._values.pop(key, None)


@dataclass(frozen=True, slots=True)
class SeenTurns:
    """The stages of a repair whose turn had come, when that was counted, and the ends that were noted then."""

    at: datetime
    begun: frozenset[Stage]
    noted: frozenset[Stage]


@dataclass(frozen=True, slots=True)
class Memory:
    """Clusters by name, generations and authorities by id, access tokens by the hash of their secret.

    And generations by cluster, authority and key identifier, as they are published.
    And the turns of repairs by the id of their window: these change, but whose turn has come keeps it.
    """

    clusters: Remembered[str, Cluster] = field(default_factory=Remembered)
    generations: Remembered[UUID, Generation] = field(default_factory=Remembered)
    owners: Remembered[UUID, Owner] = field(default_factory=Remembered)
    tokens: Remembered[str, Token] = field(default_factory=Remembered)
    turns: Remembered[UUID, SeenTurns] = field(default_factory=Remembered)
    issuers: Remembered[tuple[str, str, str], PublishedIssuer] = field(default_factory=Remembered)


def known_generation(authority: Authority, connection: Connection, generation_id: UUID) -> Generation:
    """The generation of that id, which exists: what it is never changes, whatever becomes of its state."""
    generation = authority.memory.generations.get(generation_id)
    if generation is None:
        generation = authorities.generation(connection, generation_id)
        authority.memory.generations.put(generation_id, generation)
    return generation
