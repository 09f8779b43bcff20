"""What came of it: a table on the terminal, latest.json, and the table in docs/performance.md."""

from __future__ import annotations

import json
import math
import os
import platform
import ssl
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.backends.openssl import backend

from bench.figures import Figures, bar_of

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
LATEST = ROOT / "bench" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
_PACKAGES = ("cryptography", "awscrt", "uvicorn", "uvloop", "fastapi", "SQLAlchemy", "psycopg")


def write_latest(figures: Figures, parts: Iterable[str], *, whole: bool) -> Figures:
    """Write latest.json: figure name → number. Figures of parts that did not run now stay as they were.

    Args:
        figures: of this run.
        parts: that ran, each the beginning of its figures' names.
        whole: every part ran, so nothing of before is kept.
    """
    kept: Figures = {}
    if LATEST.exists() and not whole:
        begins = tuple(f"{part}." for part in parts)
        kept = {
            name: value
            for name, value in json.loads(LATEST.read_text()).items()
            if not name.startswith(begins)
        }
    together = dict(sorted((kept | figures).items()))
    finite = {name: round(value, 4) for name, value in together.items() if math.isfinite(value)}
    LATEST.write_text(json.dumps(finite, indent=1) + "\n")
    return finite


def table(figures: Figures) -> list[str]:
    """A Markdown table of the figures that something is demanded of, then one of all others."""
    judged = [(name, value, bar) for name, value in figures.items() if (bar := bar_of(name))]
    lines = ["| figure | value | demanded | |", "| --- | ---: | --- | --- |"]
    lines += [
        f"| `{name}` | {_number(value)} | {bar} | {'reached' if bar.is_reached(value) else '**not reached**'} |"
        for name, value, bar in judged
    ]
    lines += ["", "| figure | value |", "| --- | ---: |"]
    lines += [f"| `{name}` | {_number(value)} |" for name, value in figures.items() if not bar_of(name)]
    return lines


def write_page(figures: Figures, command: str) -> None:
    """Put the table into docs/performance.md, between its markers.

    Raises:
        ValueError: the page has no markers.
    """
    text = PAGE.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        message = f"{PAGE.name} has no {_BEGIN} … {_END}"
        raise ValueError(message)
    lines = [_BEGIN, "", machine(command), "", *table(figures), "", _END]
    PAGE.write_text(before + "\n".join(lines) + after)


def machine(command: str) -> str:
    """What the figures were measured on, and how."""
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, on {len(os.sched_getaffinity(0))} cores of {_processor()}, "
        f"{platform.system()} {platform.release()}; {platform.python_implementation()} {platform.python_version()}, "
        f"{packages}; {backend.openssl_version_text()} in cryptography, {ssl.OPENSSL_VERSION} in Python."
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):  # noqa: PLR2004  beyond that digits say nothing
        return f"{value:,.0f}"
    return f"{value:.2f}"
