"""What the agent is told from outside, and how it sleeps so that it hears it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Signals:
    """SIGTERM and SIGINT end the agent at a safe point; SIGHUP has it read its plan again."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._woken = threading.Event()
        self.is_stopping = False
        self._reload = False

    def listen(self) -> None:
        """Take the signals of this process; for its main thread."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stop()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._reload = True
        self._woken.set()

    def stop(self) -> None:
        """End at the next safe point."""
        self.is_stopping = True
        self._woken.set()

    def take_reload(self) -> bool:
        """Whether the plan is to be read again; says so once."""
        wanted, self._reload = self._reload, False
        return wanted

    def sleep(self, seconds: float) -> None:
        """Sleep by a steady clock, or until something is said."""
        self._woken.wait(seconds)
        self._woken.clear()
