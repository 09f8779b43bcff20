"""Random bits from the system's generator, fetched for many issuances at once."""

from __future__ import annotations

import os
import threading
from typing import Final

_FETCHED: Final = 2048  # octets


class RandomBits:
    """Gives unpredictable bits, as `secrets.randbits` does; safe to share between threads.

    A system call for each serial and id gave up the interpreter to another thread three times an issuance. What is
    fetched ahead is given out once, and lies in the memory that holds the private keys, too.
    """

    def __init__(self) -> None:
        """Fetch nothing yet: a process that is forked must not share what was fetched before."""
        self._store = b""
        self._at = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def __call__(self, bits: int) -> int:
        """That many bits, as a number from 0."""
        octets = (bits + 7) // 8
        with self._lock:
            if self._at + octets > len(self._store):
                self._store, self._at = os.urandom(max(_FETCHED, octets)), 0
            taken = self._store[self._at : self._at + octets]
            self._at += octets
        return int.from_bytes(taken, "big") >> (octets * 8 - bits)

    def _forget(self) -> None:
        self._store, self._lock = b"", threading.Lock()
