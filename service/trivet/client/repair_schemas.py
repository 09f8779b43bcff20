"""What the service answers about what a cluster holds, early renewal and repairs, as in `schemas`."""

from __future__ import annotations

from typing import TypedDict


class Identity(TypedDict):
    """What a node holds, by its newest certificate."""

    serialNumber: str
    profile: str
    node: str | None
    commonName: str
    issuedAt: str
    notAfter: str
    status: str
    revokedAt: str | None
    stage: str
    waitedFor: bool
    abandoned: bool


class AbandonedNode(TypedDict):
    """A node that was given up."""

    node: str
    identities: int


class LateIdentity(TypedDict):
    """An identity that has not renewed yet."""

    serialNumber: str
    profile: str
    node: str | None
    commonName: str
    notAfter: str
    dueSince: str | None


class EarlyRenewal(TypedDict):
    """How far a cluster is that was asked to renew early."""

    id: str
    cluster: str
    askedAt: str
    askedBy: str
    endsAt: str
    total: int
    fresh: int
    late: list[LateIdentity]


class EarlyRenewalSummary(TypedDict):
    """A wish that a whole cluster renews early."""

    id: str
    askedAt: str
    askedBy: str
    endsAt: str


class NodeBudget(TypedDict):
    """How long a node survives without Trivet."""

    node: str | None
    seconds: int
    endsAt: str
    profile: str
    serialNumber: str
    identities: int


class OutageBudget(TypedDict):
    """How long a cluster survives without Trivet."""

    cluster: str
    seconds: int | None
    endsAt: str | None
    abandoned: int
    nodes: list[NodeBudget]


class RepairStage(TypedDict):
    """A stage of a repair."""

    name: str
    state: str
    total: int
    fresh: int
    beganAt: str | None
    endedAt: str | None
    movedAt: str | None


class RepairIdentity(TypedDict):
    """An identity that is not fresh."""

    serialNumber: str
    profile: str
    node: str | None
    commonName: str
    notAfter: str
    stage: str
    state: str
    lastRefusal: str | None
    heardAt: str | None


class RepairBar(TypedDict):
    """Something that bars the way, and the command that clears it."""

    kind: str
    detail: str
    command: str | None
    identities: int


class Repair(TypedDict):
    """A repair window, and how the repair stands."""

    id: str | None
    cluster: str
    state: str
    openedAt: str | None
    openedBy: str | None
    endsAt: str | None
    closedAt: str | None
    closedBy: str | None
    expiredForSeconds: int
    patienceSeconds: int
    total: int
    fresh: int
    abandoned: int
    stages: list[RepairStage]
    bars: list[RepairBar]
    warnings: list[str]
    pending: list[RepairIdentity]


class RepairSummary(TypedDict):
    """A repair window."""

    id: str
    state: str
    openedAt: str
    openedBy: str
    endsAt: str
    closedAt: str | None
    closedBy: str | None


class RepairToken(TypedDict):
    """A one-time token, with the secret that is shown this once."""

    id: str
    node: str
    repair: str
    createdAt: str
    expiresAt: str
    identities: list[Identity]
    secret: str
