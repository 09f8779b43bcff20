"""Telling systemd how the agent is: sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Whoever started the agent, where that wants to be told.

    Attributes:
        address: of its socket; None for nobody.
        watchdog: seconds within which it wants to hear something; None for never.
    """

    address: str | None = None
    watchdog: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Supervisor:
        """What the environment says of it."""
        address = environment.get("NOTIFY_SOCKET") or None
        microseconds = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else None
        return cls(address, watchdog)

    def tell(self, *lines: str) -> None:
        """Say how things are, as `READY=1`, `WATCHDOG=1`, `STOPPING=1`; nobody hears it where nobody listens."""
        if self.address is None:
            return
        # A leading @ stands for the abstract namespace.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.sendto("\n".join(lines).encode(), address)
