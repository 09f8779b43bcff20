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
    families = [
        ("agent_about", "gauge", "The agent itself; always 1.", [(about, 1.0)]),
        *_certificates(node, tallies, now),
        *_whole(node, tallies, now),
        *_lists(lists or {}),
    ]
    return "".join(line for family in families for line in family_lines(*family))


Family = tuple[str, str, str, list[Sample]]


def _certificates(node: Node, tallies: Tallies, now: Moment) -> Iterator[Family]:
    held = {name: identity for name, identity in node.identities.items() if identity.held is not None}
    yield (
        "agent_certificate_not_after_timestamp_seconds",
        "gauge",
        "When the certificate on the disk expires.",
        [
            _of(name, identity.held.validity.not_after.timestamp())
            for name, identity in held.items()
            if identity.held
        ],
    )
    yield (
        "agent_certificate_lifetime_seconds",
        "gauge",
        "How long it lives in all.",
        [
            _of(name, (identity.held.validity.not_after - identity.held.validity.not_before).total_seconds())
            for name, identity in held.items()
            if identity.held
        ],
    )
    yield (
        "agent_certificate_next_try_timestamp_seconds",
        "gauge",
        "When it is renewed, or tried again.",
        [_of(name, _next_try(identity, now)) for name, identity in held.items()],
    )
    yield (
        "agent_certificate_standing",
        "gauge",
        "1 for how the certificate stands, 0 for how it does not.",
        [
            ({"certificate": name, "standing": standing.value}, float(identity.standing is standing))
            for name, identity in node.identities.items()
            for standing in Standing
        ],
    )
    yield (
        "agent_certificate_failures",
        "gauge",
        "Tries to renew that failed in a row.",
        [_of(name, identity.failures) for name, identity in node.identities.items()],
    )
    yield (
        "agent_certificate_last_result",
        "gauge",
        "1, with what came of the last try to renew.",
        [
            ({"certificate": name, "result": identity.last.kind.value}, 1.0)
            for name, identity in node.identities.items()
            if identity.last is not None
        ],
    )
    yield (
        "agent_certificate_renewals_total",
        "counter",
        "Renewals since the agent started.",
        [_of(name, tallies.renewals.get(name, 0)) for name in node.identities],
    )
    yield (
        "agent_certificate_renewed_timestamp_seconds",
        "gauge",
        "When this agent last renewed it.",
        [_of(name, at.timestamp()) for name, at in tallies.last_renewal.items()],
    )
    yield (
        "agent_certificate_served",
        "gauge",
        "Whether the live endpoint serves the certificate on the disk; absent without a probe.",
        [
            _of(name, float(aftermath.sight is Sight.NEW))
            for name, aftermath in node.aftermaths.items()
            if aftermath.sight is not None
        ],
    )
    yield (
        "agent_hook_failures_total",
        "counter",
        "Hooks that failed since the agent started.",
        [_of(name, aftermath_failures) for name, aftermath_failures in tallies.hook_failures.items()],
    )


def _whole(node: Node, tallies: Tallies, now: Moment) -> Iterator[Family]:
    budget = node.outage_budget(now)
    yield (
        "agent_outage_budget_seconds",
        "gauge",
        "How long this node survives if contact with the service is lost now.",
        [] if budget is None else [({}, max(0.0, budget.total_seconds()))],
    )
    yield (
        "agent_answered_timestamp_seconds",
        "gauge",
        "When the service last answered.",
        [] if tallies.answered_at is None else [({}, tallies.answered_at.timestamp())],
    )
    yield ("agent_clock_jumps_total", "counter", "Times that the wall clock was set by minutes or more.",
           [({}, float(tallies.clock_jumps))])  # fmt: skip
    yield ("agent_faults_total", "counter", "Defects of the agent itself, which went on.",
           [({}, float(tallies.faults))])  # fmt: skip


def _lists(lists: Mapping[str, ListStanding]) -> Iterator[Family]:
    yield (
        "agent_revocation_list_next_update_timestamp_seconds",
        "gauge",
        "When the CRL on the disk expires; 0 where there is none that can be read.",
        [
            ({"list": name}, 0.0 if one.next_update is None else one.next_update.timestamp())
            for name, one in lists.items()
        ],
    )
    yield (
        "agent_revocation_list_lifetime_seconds",
        "gauge",
        "How long the CRL on the disk is good for in all; 0 where there is none that can be read.",
        [({"list": name}, _lifetime(one)) for name, one in lists.items()],
    )
    yield (
        "agent_revocation_list_fetched",
        "gauge",
        "Whether the last question for a newer CRL was answered with one that holds.",
        [({"list": name}, float(not one.faults)) for name, one in lists.items()],
    )


def _lifetime(one: ListStanding) -> float:
    if one.next_update is None or one.this_update is None:
        return 0.0
    return (one.next_update - one.this_update).total_seconds()


def _next_try(identity: Identity, now: Moment) -> float:
    return now.wall.timestamp() + max(0.0, identity.next_try(now) - now.steady)


def _of(name: str, value: float) -> Sample:
    return {"certificate": name}, float(value)


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
