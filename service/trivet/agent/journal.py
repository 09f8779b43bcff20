"""The agent's log: one JSON object a line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\btrivet(-repair)?_[A-Za-z0-9_-]{20,}"
    r"|\b[a-z0-9]{6}\.[a-z0-9]{16}\b",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes what happens, one line an event. Neither a key nor a token passes it.

    Attributes:
        logger: the name that every line bears.
        out: where to.
        now: the clock.
    """

    logger: str
    out: TextIO
    now: Callable[[], datetime]

    def write(self, level: str, event: str, message: str, **members: Any) -> None:  # noqa: ANN401  any JSON value
        """Write a line; members that are None are left out."""
        at = self.now()
        line: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
            "level": level,
            "logger": self.logger,
            "event": event,
            "message": _without_secrets(message),
        }
        for name, value in members.items():
            if value is not None:
                line[name] = _without_secrets(value) if isinstance(value, str) else value
        # ASCII: nothing in a line can move the cursor of whoever reads it, nor end it early.
        print(json.dumps(line, default=str).replace("\x7f", "\\u007f"), file=self.out, flush=True)

    def note(self, event: str, message: str, **members: Any) -> None:  # noqa: ANN401  any JSON value
        """Something went as it should."""
        self.write("info", event, message, **members)

    def warn(self, event: str, message: str, **members: Any) -> None:  # noqa: ANN401  any JSON value
        """Something will be tried again, or wants an eye."""
        self.write("warning", event, message, **members)

    def complain(self, event: str, message: str, **members: Any) -> None:  # noqa: ANN401  any JSON value
        """Something wants a hand."""
        self.write("error", event, message, **members)


def _without_secrets(text: str) -> str:
    return _SECRET.sub("[withheld]", text)
