"""Warnings to whoever asks, in the header that kubectl prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

_LONGEST: Final = 500  # a thousand entries fill no header that a client reads; the preview's body tells all


def add_warnings(response: Response, warnings: Sequence[str]) -> None:
    """Say warnings in headers (RFC 7234 section 5.5, code 299)."""
    for warning in warnings:
        shown = warning if len(warning) <= _LONGEST else warning[: _LONGEST - 3] + "..."
        printable = "".join(letter if letter.isprintable() else " " for letter in shown)
        text = printable.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
        response.headers.append("Warning", f'299 - "{text}"')
