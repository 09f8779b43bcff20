"""The reference of metrics, read off the collectors of the service and of the agent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from trivet.agent import exposition
from trivet.authority.metrics.meters import REGISTRY
from trivet.authority.metrics.monitor import Standing, StandingCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SERIES: Final = ("a", "a", "a")
# Something of everything, so that every series is shown.
_STANDING: Final = Standing(
    ends={_SERIES: (_NOW, timedelta(days=1))}, crls={("a", "a"): (_NOW, _NOW)}, budgets=[({"cluster": "a"}, 0.0)],
    budget_lifetimes=[({"cluster": "a"}, 1.0)], pending={"a": 0},
    sealed=_NOW, responder=(_NOW, timedelta(days=1)),
)  # fmt: skip


def page() -> str:
    """The page."""
    return (
        "# Metrics\n\nThis page is made from the code. [What they mean, and what to watch](../metrics.md)"
        " · [those of the agent](../agent.md#metrics).\n"
        f"\n## The service\n\n{_table(sorted({*_kept(), *_standing()}))}"
        f"\n## The agent\n\n{_table(sorted(_of_the_agent()))}"
    )


Row = tuple[str, str, str, str]


def _kept() -> Iterator[Row]:
    for collector in set(REGISTRY._collector_to_names):  # noqa: SLF001  the registry lists them nowhere else
        labels = getattr(collector, "_labelnames", ())
        for family in collector.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, ", ".join(f"`{label}`" for label in labels), family.documentation


def _standing() -> Iterator[Row]:
    for family in StandingCollector({}, _NOW, _STANDING, is_up=True, ahead=0.0).collect():
        labels = {label for sample in family.samples for label in sample.labels}
        yield (
            family.name,
            family.type,
            ", ".join(f"`{label}`" for label in sorted(labels)),
            family.documentation,
        )


def _of_the_agent() -> Iterator[Row]:
    for name, words in exposition.METRICS.items():
        of = next((label for label in ("certificate", "revocation_list") if f"_{label}_" in name), "")
        yield (
            f"trivet_{name}",
            exposition.kind_of(name),
            f"`{of.removeprefix('revocation_')}`" if of else "",
            words,
        )


def _table(rows: list[Row]) -> str:
    lines = [f"| `{name}` | {kind} | {labels} | {words} |\n" for name, kind, labels, words in rows]
    return f"| metric | kind | labels | what |\n| --- | --- | --- | --- |\n{''.join(lines)}"
