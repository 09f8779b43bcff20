"""Certificate requests as the Kubernetes API shows them, and what watches are told of them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from trivet.pki.kubernetes import signer_of
from trivet.pki.pem import certificate_pem, request_pem
from trivet.store import certificates, changes
from trivet.store.changes import CERTIFICATE_SIGNING_REQUESTS, Change, ChangeKind, ObjectImage, Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.store.requests import StoredRequest

_SHOWN = ("type", "status", "reason", "message")
_TIMES = ("lastUpdateTime", "lastTransitionTime")


def place_of(cluster_id: UUID) -> Place:
    """Where the changes of a cluster's requests are."""
    return Place(cluster_id, CERTIFICATE_SIGNING_REQUESTS)


def image_of(stored: StoredRequest, certificate: bytes | None) -> ObjectImage:
    """A request as a CertificateSigningRequest; `certificate` is the DER of what was issued for it."""
    return ObjectImage(
        stored.id,
        "",
        stored.name,
        stored.version,
        0,  # the spec never changes
        stored.created_at,
        stored.labels,
        stored.annotations,
        stored.managed_fields,
        {"spec": _spec(stored), "status": _status(stored, certificate)},
        stored.generate_name or "",
    )


def images_of(connection: Connection, found: Sequence[StoredRequest]) -> list[ObjectImage]:
    """Requests with the certificates that were issued for them, where those are still kept."""
    made = certificates_for(connection, found)
    return [image_of(stored, made.get(stored.id)) for stored in found]


def certificates_for(connection: Connection, found: Sequence[StoredRequest]) -> dict[UUID, bytes]:
    """What was issued for requests (DER), by the ids of those."""
    ids = {stored.certificate_id for stored in found if stored.certificate_id is not None}
    made = certificates.find_all(connection, ids) if ids else {}
    return {
        stored.id: made[stored.certificate_id].der
        for stored in found
        if stored.certificate_id is not None and stored.certificate_id in made
    }


def log_changes(
    connection: Connection,
    kind: ChangeKind,
    changed: Sequence[StoredRequest],
    now: datetime,
    *,
    former: StoredRequest | None = None,
    made: Mapping[UUID, bytes] | None = None,
) -> None:
    """Tell watches of changes to requests of one cluster, each at the version that its change took.

    Args:
        connection: of the transaction that makes the changes.
        kind: what became of them.
        changed: as they are now; as they were, where they were removed.
        now: the time.
        former: the one that was changed, where its labels were others.
        made: their certificates, where the database does not have them yet.
    """
    known = certificates_for(connection, changed) if made is None else made
    told = [
        Change(
            kind,
            image_of(stored, known.get(stored.id)),
            {} if kind is ChangeKind.ADDED else (former or stored).labels,
        )
        for stored in changed
    ]
    if told:
        changes.append(connection, place_of(changed[0].cluster_id), told, now)


def _spec(stored: StoredRequest) -> dict[str, Any]:
    submitted = stored.submitted
    written = stored.pem.encode() if stored.pem is not None else request_pem(stored.der)
    spec: dict[str, Any] = {
        "request": base64.b64encode(written).decode(),
        "signerName": signer_of(stored.profile),
        "usages": list(stored.usages),
        "username": submitted.username,
        "groups": list(submitted.groups),
    }
    spec |= {"expirationSeconds": stored.expiration_seconds} if stored.expiration_seconds else {}
    spec |= {"uid": submitted.uid} if submitted.uid else {}
    return spec | ({"extra": submitted.extra} if submitted.extra else {})


def _status(stored: StoredRequest, certificate: bytes | None) -> dict[str, Any]:
    status: dict[str, Any] = {}
    if certificate is not None:
        status["certificate"] = base64.b64encode(certificate_pem(certificate)).decode()
    if stored.conditions:
        status["conditions"] = [_condition(each) for each in stored.conditions]
    return status


def _condition(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step as Kubernetes has it: without who took it, and times to the second (metav1.Time)."""
    shown = {name: step[name] for name in _SHOWN if name in step}
    return shown | {name: f"{step[name][:19]}Z" for name in _TIMES if name in step}
