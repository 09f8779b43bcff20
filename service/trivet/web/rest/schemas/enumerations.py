"""Types that several schemas share. Each has a name in the OpenAPI document, and so in every SDK."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from trivet.pki.kubernetes import PROFILES

AuthorityName = TypeAliasType(
    "AuthorityName", Annotated[Literal["cluster", "etcd", "front-proxy"], Field(description="An authority.")]
)
# As text: a profile that is not in the table is refused by the use case, which leaves a decision record.
ProfileName = TypeAliasType(
    "ProfileName",
    Annotated[
        str,
        Field(max_length=80),
        WithJsonSchema(
            {"type": "string", "enum": list(PROFILES), "description": "A row of the profile table."}
        ),
    ],
)
CertificateStatus = TypeAliasType(
    "CertificateStatus",
    Annotated[Literal["valid", "revoked", "expired"], Field(description="How a certificate stands now.")],
)
GenerationState = TypeAliasType(
    "GenerationState",
    Annotated[
        Literal["staged", "active", "retiring", "retired"],
        Field(description="Whether a generation signs (active), and is to be trusted (all but retired)."),
    ],
)
DecisionAction = TypeAliasType(
    "DecisionAction", Annotated[Literal["issue", "renew"], Field(description="What was asked for.")]
)
Verdict = TypeAliasType(
    "Verdict", Annotated[Literal["issued", "refused"], Field(description="What came of it.")]
)
AccessRole = TypeAliasType(
    "AccessRole",
    Annotated[
        Literal["admin", "issuer", "approver", "auditor", "signer"],
        Field(description="What an access token is for."),
    ],
)
BootstrapTokenUsage = TypeAliasType(
    "BootstrapTokenUsage",
    Annotated[
        Literal["signing", "authentication"], Field(description="What a bootstrap token may be used for.")
    ],
)
CertificateRequestState = TypeAliasType(
    "CertificateRequestState",
    Annotated[
        Literal["pending", "approved", "issued", "denied", "failed"],
        Field(description="What became of a certificate request."),
    ],
)
StageName = TypeAliasType(
    "StageName", Annotated[Literal["etcd", "api-server", "rest"], Field(description="A stage of a repair.")]
)
StageState = TypeAliasType(
    "StageState",
    Annotated[
        Literal["waiting", "current", "fresh", "passed", "skipped"], Field(description="How a stage stands.")
    ],
)
RepairState = TypeAliasType(
    "RepairState",
    Annotated[
        Literal["rehearsal", "open", "completed", "ended", "closed"],
        Field(description="How a repair stands."),
    ],
)
Plight = TypeAliasType(
    "Plight",
    Annotated[
        Literal[
            "fresh",
            "banned",
            "no-active-generation",
            "revoked",
            "expired-too-long-ago",
            "waiting",
            "refused",
            "not-heard-of",
        ],
        Field(description="How an identity stands in a repair, and why it is not fresh."),
    ],
)
DryRun = TypeAliasType(
    "DryRun", Annotated[Literal["All"], Field(description="Do nothing, and tell what would be done.")]
)
Labels = TypeAliasType("Labels", Annotated[dict[str, str], Field(description="As in Kubernetes.")])
Annotations = TypeAliasType("Annotations", Annotated[dict[str, str], Field(description="As in Kubernetes.")])
ComparedIdentity = TypeAliasType(
    "ComparedIdentity", Annotated[dict[str, Any], Field(description="What entries were compared with.")]
)
