"""What a cluster's RenewRevocation is in Trivet, and what its status says of that. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.agent.events import rfc3339
from trivet.pki.errors import BadRevocationError
from trivet.pki.manifest import API_VERSION, KIND, MIRRORED_FROM, parse_renew_revocation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trivet.pki.manifest import RenewRevocation
    from trivet.signer.resources import Object

MIRRORED, LOCK_OUT = "Mirrored", "LockOut"
CONFIRM: Final = "signer.trivet/confirm"
"""Annotates a RenewRevocation with the token of its preview, where the guard against lock-outs wants that."""

_LEFT_OUT: Final = ("kubectl.kubernetes.io/", "signer.trivet/")
_LONGEST_MESSAGE: Final = 4_000


def mirror_image(found: Object, source: str) -> dict[str, Any]:
    """The manifest for Trivet: the same object, marked as mirrored."""
    metadata = found["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(_LEFT_OUT)
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": annotations | {MIRRORED_FROM: source},
        },
        "spec": found.get("spec"),
    }


def as_sent(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as octets: JSON, which is YAML, too."""
    return json.dumps(manifest).encode()


def source_of(standing: Mapping[str, Any]) -> str | None:
    """From which cluster a revocation of Trivet's was mirrored; None for what somebody made there."""
    source = (standing["metadata"].get("annotations") or {}).get(MIRRORED_FROM)
    return None if source is None else str(source)


def is_same(standing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether what stands in Trivet says what is wanted, in whatever spelling."""
    ours, theirs = _parsed(wanted), _parsed(standing)
    return ours is not None and ours == theirs


def _parsed(document: object) -> RenewRevocation | None:
    try:
        return parse_renew_revocation(document)
    except BadRevocationError:
        return None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a RenewRevocation of the cluster stands in Trivet.

    Attributes:
        reason: one word; `Mirrored` where it holds.
        message: the same for people.
        warnings: whom it locks out; None where that is not known anew.
    """

    reason: str
    message: str
    warnings: Sequence[str] | None = None

    @property
    def holds(self) -> bool:
        """Whether Trivet refuses what it names."""
        return self.reason == MIRRORED


def is_told(found: Object) -> bool:
    """Whether the object's status says that it holds as it is now."""
    status = found.get("status") or {}
    mirrored = _conditions(status).get(MIRRORED, {})
    generation = found["metadata"].get("generation")
    return mirrored.get("status") == "True" and status.get("observedGeneration") == generation


def status_for(found: Object, standing: Standing, now: datetime) -> dict[str, Any]:
    """The status of the object as it is to be; equal to what it has where nothing changed."""
    former = found.get("status") or {}
    conditions = _conditions(former)
    generation = found["metadata"].get("generation")
    said = [(MIRRORED, standing.holds, standing.reason, standing.message)]
    if standing.warnings is not None:
        locks = bool(standing.warnings)
        words = "; ".join(standing.warnings) or "everybody whom it does not name can renew"
        said.append((LOCK_OUT, locks, "LocksOut" if locks else "NobodyLockedOut", words))
    for kind, holds, reason, message in said:
        condition = {
            "type": kind,
            "status": str(holds),
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
        }
        condition |= {} if generation is None else {"observedGeneration": generation}
        before = conditions.get(kind, {})
        changed = before.get("status") != condition["status"]
        at = rfc3339(now) if changed else before.get("lastTransitionTime", rfc3339(now))
        conditions[kind] = condition | {"lastTransitionTime": at}
    observed = {} if generation is None else {"observedGeneration": generation}
    return {**former, **observed, "conditions": list(conditions.values())}


def _conditions(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(item.get("type")): item for item in status.get("conditions") or () if isinstance(item, dict)}
