"""Figures: names and numbers, what is demanded of some of them, and what a round's values come to."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Figures = dict[str, float]


@dataclass(frozen=True)
class Bar:
    """What is demanded of a figure: at least, or at most, so much."""

    figure: str
    least: float | None = None
    most: float | None = None

    def is_reached(self, value: float) -> bool:
        """Whether the figure is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


BARS = (
    Bar("issue.postgresql.c64.ratio_to_limit", least=0.70),
    Bar("issue.sqlite.c64.ratio_to_limit", least=0.75),
    Bar("issue.postgresql.fast.c64.ratio_to_limit", least=1.1),
    Bar("issue.sqlite.fast.c64.ratio_to_limit", least=1.1),
    Bar("issue.*.c1.p99_over_crypto", most=4.0),
    Bar("peers.*.ratio", least=2.0),
    Bar("check.entries1m.ratio_to_empty", most=1.2),
    Bar("check.*.entries1m.ratio_to_empty", most=1.2),
    Bar("crl.*entries1m.ratio_to_linear", most=1.5),
    Bar("crl.*entries1m.publish_seconds", most=2.0),
    Bar("crl.*entries1m.publish_cold_seconds", most=2.0),
    Bar("ocsp.uncached.ratio_to_limit", least=0.7),
    Bar("ocsp.cached.ratio_to_limit", least=5.0),
    Bar("authorize.answers.per_second", least=2000),
    Bar("authorize.revoked_to_denied_seconds", most=2.0),
    Bar("herd.ratio_to_limit", least=0.6),
    Bar("herd.failures", most=0),
    Bar("fleet.issue.ratio_to_empty", least=0.9),
    Bar("soak.failures", most=0),
    Bar("soak.rss_growth_ratio", most=1.05),
    Bar("soak.open_files_growth", most=0),
    Bar("soak.p99_growth_ratio", most=1.5),
)


def bar_of(figure: str) -> Bar | None:
    """What is demanded of the figure, if anything."""
    return next((bar for bar in BARS if fnmatch.fnmatchcase(figure, bar.figure)), None)


class Rounds:
    """Values of figures over several rounds; what counts is their median."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, figure: str, value: float) -> None:
        """Note the value of one round."""
        self._values.setdefault(figure, []).append(value)

    def add_all(self, prefix: str, values: Figures) -> None:
        """Note several figures of one round under a common prefix."""
        for name, value in values.items():
            self.add(f"{prefix}.{name}", value)

    def medians(self) -> Figures:
        """The median of each figure."""
        return {figure: median(values) for figure, values in self._values.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)
