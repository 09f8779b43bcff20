"""Repairs, and their one-time tokens."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict, Field

from trivet.web.rest.schemas.base import Page, RequestSchema, Schema, Seconds
from trivet.web.rest.schemas.enumerations import Plight, RepairState, StageName, StageState
from trivet.web.rest.schemas.upkeep import Identity


class RepairCreate(RequestSchema):
    """A repair window to open."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"forSeconds": 7200}]})

    for_seconds: Seconds = Field(7200, description="How long it stays open at most: a minute to seven days.")
    expired_for_seconds: Seconds | None = Field(
        None, description="How long ago a certificate may have expired; by default what the operator set."
    )
    patience_seconds: Seconds = Field(
        300,
        description="How long a stage may stand still before the next one begins: 10 seconds to two hours.",
    )


class RepairStage(Schema):
    """A stage of a repair."""

    name: StageName
    state: StageState
    total: int
    fresh: int
    began_at: datetime | None = Field(description="When its turn came.")
    ended_at: datetime | None
    moved_at: datetime | None = Field(
        description="When one of its identities last became fresh in the window."
    )


class RepairIdentity(Schema):
    """An identity that is not fresh."""

    serial_number: str
    profile: str
    node: str | None
    common_name: str
    not_after: datetime
    stage: StageName
    state: Plight
    last_refusal: str | None = Field(description="What its holder was last told within the window.")
    heard_at: datetime | None


class RepairBar(Schema):
    """Something that bars the way."""

    kind: Plight
    detail: str = Field(description="What it is, in plain words.")
    command: str | None = Field(description="What clears it.")
    identities: int = Field(description="How many it concerns.")


class Repair(Schema):
    """A repair window, and how the repair stands."""

    id: UUID | None = Field(description="Null in a rehearsal (dryRun=All).")
    cluster: str
    state: RepairState
    opened_at: datetime | None
    opened_by: str | None
    ends_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    expired_for_seconds: int
    patience_seconds: int
    total: int = Field(description="How many identities are waited for.")
    fresh: int = Field(description="How many of them have a certificate that is in force.")
    abandoned: int = Field(description="How many identities were given up.")
    stages: list[RepairStage]
    bars: list[RepairBar] = Field(description="What bars the way.")
    warnings: list[str]
    pending: list[RepairIdentity] = Field(
        description="What is not fresh, in the order of the stages; at most 500."
    )


class RepairSummary(Schema):
    """A repair window."""

    id: UUID
    state: RepairState
    opened_at: datetime
    opened_by: str
    ends_at: datetime
    closed_at: datetime | None
    closed_by: str | None


class RepairPage(Page[RepairSummary]):
    """A part of a list of RepairSummary objects."""


class RepairSkipCreate(RequestSchema):
    """A stage that is not waited for any longer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "etcd"}]})

    stage: StageName


class RepairTokenCreate(RequestSchema):
    """A one-time token to make for a node."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"node": "worker-1"}]})

    node: str = Field(max_length=253)


class RepairToken(Schema):
    """A one-time token; its secret is shown this once."""

    id: UUID
    node: str
    repair: UUID
    created_at: datetime
    expires_at: datetime = Field(description="With its window.")
    identities: list[Identity] = Field(description="What it gives certificates for, each once.")
    secret: str


class RepairRenewalCreate(RequestSchema):
    """A renewal message that was carried here from a node that cannot reach Trivet."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "eyJ0eXAiOiJ0cml2ZXQtcmVuZXdhbCtqd3Qi…"}]}
    )

    message: str = Field(
        max_length=131_072, description="Signed by the certificate's key, up to seven days ago."
    )
