"""The agent's metrics, in Prometheus' text format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.agent.loop.aftermath import Sight
from trivet.agent.loop.identity import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from trivet.agent.loop import Identity, Moment, Node
    from trivet.agent.revocation_lists import ListStanding

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = dict[str, str]
Sample = tuple[Labels, float]


@dataclass
class Tallies:
    """What is counted, by the certificate's name where that matters."""

    renewals: dict[str, int] = field(default_factory=dict)
    last_renewal: dict[str, datetime] = field(default_factory=dict)
    hook_failures: dict[str, int] = field(default_factory=dict)
    answered_at: datetime | None = None
    clock_jumps: int = 0
    faults: int = 0

    def count(self, counts: dict[str, int], name: str) -> None:
        """One more of it."""
        counts[name] = counts.get(name, 0) + 1


def exposition(
    node: Node,
    tallies: Tallies,
    now: Moment,
    about: Labels,
    lists: Mapping[str, ListStanding] | None = None,
) -> str:
    """All metrics as text.

    Args:
        node: how the node stands.
        tallies: what was counted.
        now: the time.
        about: what the agent is: its mode, the cluster, the node, the version.
        lists: how the CRLs stand, by name.
    """
    families = (
        ("agent_about", [(about, 1.0)]),
        *_certificates(node, tallies, now),
        *_whole(node, tallies, now),
        *_lists(lists or {}),
    )
    return "".join(
        line
        for name, samples in families
        for line in family_lines(name, kind_of(name), METRICS[name], samples)
    )


def kind_of(name: str) -> str:
    """The type of one of the metrics."""
    return "counter" if name.endswith("_total") else "gauge"


METRICS: Final = {
    "agent_about": "The agent itself; always 1.",
    "agent_certificate_not_after_timestamp_seconds": "When the certificate on the disk expires.",
    "agent_certificate_lifetime_seconds": "How long it lives in all.",
    "agent_certificate_next_try_timestamp_seconds": "When it is renewed, or tried again.",
    "agent_certificate_standing": "1 for how the certificate stands, 0 for how it does not.",
    "agent_certificate_failures": "Tries to renew that failed in a row.",
    "agent_certificate_last_result": "1, with what came of the last try to renew.",
    "agent_certificate_renewals_total": "Renewals since the agent started.",
    "agent_certificate_renewed_timestamp_seconds": "When this agent last renewed it.",
    "agent_certificate_served": (
        "Whether the live endpoint serves the certificate on the disk; absent without a probe."
    ),
    "agent_hook_failures_total": "Hooks that failed since the agent started.",
    "agent_outage_budget_seconds": "How long this node survives if contact with the service is lost now.",
    "agent_answered_timestamp_seconds": "When the service last answered.",
    "agent_clock_jumps_total": "Times that the wall clock was set by minutes or more.",
    "agent_faults_total": "Defects of the agent itself, which went on.",
    "agent_revocation_list_next_update_timestamp_seconds": (
        "When the CRL on the disk expires; 0 where there is none that can be read."
    ),
    "agent_revocation_list_lifetime_seconds": (
        "How long the CRL on the disk is good for in all; 0 where there is none that can be read."
    ),
    "agent_revocation_list_fetched": (
        "Whether the last question for a newer CRL was answered with one that holds."
    ),
}
"""What `# HELP` says of each metric."""

Family = tuple[str, list[Sample]]


def _certificates(node: Node, tallies: Tallies, now: Moment) -> Iterator[Family]:
    every = node.identities
    held = {name: (one, one.held) for name, one in every.items() if one.held is not None}
    yield (
        "agent_certificate_not_after_timestamp_seconds",
        [_of(name, disk.validity.not_after.timestamp()) for name, (_, disk) in held.items()],
    )
    yield (
        "agent_certificate_lifetime_seconds",
        [_of(name, disk.lifetime.total_seconds()) for name, (_, disk) in held.items()],
    )
    yield (
        "agent_certificate_next_try_timestamp_seconds",
        [_of(name, _next_try(one, now)) for name, (one, _) in held.items()],
    )
    yield (
        "agent_certificate_standing",
        [
            _of(name, one.standing is standing, standing=standing.value)
            for name, one in every.items()
            for standing in Standing
        ],
    )
    yield "agent_certificate_failures", [_of(name, one.failures) for name, one in every.items()]
    last = {name: one.last.kind.value for name, one in every.items() if one.last is not None}
    yield "agent_certificate_last_result", [_of(name, 1, result=result) for name, result in last.items()]
    yield "agent_certificate_renewals_total", [_of(name, tallies.renewals.get(name, 0)) for name in every]
    renewed = tallies.last_renewal.items()
    yield "agent_certificate_renewed_timestamp_seconds", [_of(name, at.timestamp()) for name, at in renewed]
    sights = {name: one.sight for name, one in node.aftermaths.items() if one.sight is not None}
    yield "agent_certificate_served", [_of(name, sight is Sight.NEW) for name, sight in sights.items()]
    yield "agent_hook_failures_total", [_of(name, count) for name, count in tallies.hook_failures.items()]


def _whole(node: Node, tallies: Tallies, now: Moment) -> Iterator[Family]:
    budget, answered = node.outage_budget(now), tallies.answered_at
    left = [] if budget is None else [max(0.0, budget.total_seconds())]
    yield "agent_outage_budget_seconds", [({}, seconds) for seconds in left]
    yield "agent_answered_timestamp_seconds", [({}, answered.timestamp())] if answered else []
    yield "agent_clock_jumps_total", [({}, float(tallies.clock_jumps))]
    yield "agent_faults_total", [({}, float(tallies.faults))]


def _lists(lists: Mapping[str, ListStanding]) -> Iterator[Family]:
    ends = {name: one.next_update.timestamp() if one.next_update else 0.0 for name, one in lists.items()}
    yield (
        "agent_revocation_list_next_update_timestamp_seconds",
        [({"list": name}, end) for name, end in ends.items()],
    )
    yield (
        "agent_revocation_list_lifetime_seconds",
        [({"list": name}, _lifetime(one)) for name, one in lists.items()],
    )
    yield (
        "agent_revocation_list_fetched",
        [({"list": name}, float(not one.faults)) for name, one in lists.items()],
    )


def _lifetime(one: ListStanding) -> float:
    if one.next_update is None or one.this_update is None:
        return 0.0
    return (one.next_update - one.this_update).total_seconds()


def _next_try(identity: Identity, now: Moment) -> float:
    return now.wall.timestamp() + max(0.0, identity.next_try(now) - now.steady)


def _of(name: str, value: float, **labels: str) -> Sample:
    return {"certificate": name, **labels}, float(value)


def family_lines(name: str, kind: str, words: str, samples: Iterable[Sample]) -> Iterator[str]:
    """One metric as text, with its samples; nothing where there are none."""
    lines = [f"trivet_{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples]
    if lines:
        yield f"# HELP trivet_{name} {words}\n# TYPE trivet_{name} {kind}\n"
        yield from lines


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"
