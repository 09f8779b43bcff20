"""Events as they are sent, encoded once for all who watch the same in the same form."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_MOST_BYTES: Final = 8 * 1024 * 1024


class Lines:
    """The latest lines by what they say; the oldest go where they are too many."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        """Keep none yet."""
        self._most = most_bytes
        self._kept: dict[Hashable, bytes] = {}
        self._order: deque[Hashable] = deque()
        self._bytes = 0

    def line(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The line of a key, made where it is not kept."""
        found = self._kept.get(key)
        if found is not None:
            return found
        made = make()
        self._kept[key] = made
        self._order.append(key)
        self._bytes += len(made)
        while self._bytes > self._most:
            self._bytes -= len(self._kept.pop(self._order.popleft()))
        return made
