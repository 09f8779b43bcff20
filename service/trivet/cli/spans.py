"""Spans of time as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(text: str) -> int:
    """Read `600`, `600s`, `10m`, `12h` or `4d` as seconds.

    Raises:
        BadParameter: it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text.strip())
    if not match:
        message = f"{text!r} is not a span of time; write 600s, 10m, 12h or 4d"
        raise typer.BadParameter(message)
    return int(match[1]) * _UNITS[match[2]]


def span_of(seconds: int) -> str:
    """Seconds as `3d 4h`, `2h 5m` or `40s`; `ended` where there are none left."""
    if seconds <= 0:
        return "ended"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


ExpiresIn = Annotated[
    int | None,
    typer.Option(
        parser=parse_seconds, metavar="SPAN", help="How long it shall live at most: 600s, 10m, 12h, 4d."
    ),
]
