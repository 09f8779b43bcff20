"""CertificateSigningRequests: from documents to the use cases that REST calls, and back."""

from __future__ import annotations

from dataclasses import replace as changed_from
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.approval import observe
from trivet.authority.approval.relabel import Relabelling, relabel_request
from trivet.authority.approval.requests import delete_request, get_request
from trivet.authority.approval.submit import rehearse_submission, submit_request
from trivet.pki.errors import InvalidError
from trivet.pki.kubernetes import PROFILES_BY_SIGNER
from trivet.pki.managed_fields import render_shares
from trivet.pki.ownership import content_of
from trivet.store.requests import RequestFilter
from trivet.web.kubernetes.approval import decide, refuse_status
from trivet.web.kubernetes.objects import Changed
from trivet.web.kubernetes.schema import SIGNING_REQUEST_SCHEMA
from trivet.web.kubernetes.signing_request_reader import read, texts, told_as_written
from trivet.web.kubernetes.status import of_refusal
from trivet.web.kubernetes.tables import column, human_seconds
from trivet.web.settling import settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.authority.follow import Listing, View
    from trivet.pki.ownership import Share
    from trivet.store.changes import ObjectImage
    from trivet.store.requests import StoredRequest
    from trivet.web.kubernetes.call import Call
    from trivet.web.kubernetes.listing import Selection

SCHEMA: Final = SIGNING_REQUEST_SCHEMA
FIELDS: Final = ("metadata.name", "spec.signerName")
# pkg/printers/internalversion/printers.go
COLUMNS: Final = (
    column("Name", "string", "Name must be unique within a namespace.", form="name"),
    column("Age", "string", "How long ago it was made."),
    column("SignerName", "string", "Which signer is asked."),
    column("Requestor", "string", "Who made it."),
    column("RequestedDuration", "string", "How long the certificate is to live."),
    column("Condition", "string", "How it stands."),
)
_WRITTEN: Final = ("request", "signerName", "expirationSeconds", "usages")


def cells(image: ObjectImage, age: str) -> list[Any]:
    """The row of a request."""
    spec = image.body["spec"]
    seconds = spec.get("expirationSeconds")
    duration = human_seconds(seconds) if seconds else "<none>"
    return [image.name, age, spec["signerName"], spec["username"], duration, _standing(image.body["status"])]


def _standing(status: Mapping[str, Any]) -> str:
    kinds = {condition["type"] for condition in status.get("conditions", ())}
    decided = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    return decided + (",Failed" if "Failed" in kinds else "") + (",Issued" if "certificate" in status else "")


def contents(call: Call, document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document has managers: its labels, its annotations, and what its writer says in the spec."""
    del call
    spec = document.get("spec")
    written = spec if isinstance(spec, dict) else {}
    kept = {key: written[key] for key in _WRITTEN if key in written}
    return content_of({"metadata": document.get("metadata"), "spec": kept})


def kept(document: dict[str, Any], former: ObjectImage) -> dict[str, Any]:
    """A document with the spec that stands (pkg/registry/certificates/certificates/strategy.go)."""
    return document | {"spec": former.body["spec"]}


async def view(call: Call) -> View:
    """What of them whoever asks may see."""
    found: View = await call.run(observe.view)
    return found


async def get(call: Call) -> ObjectImage:
    """One request."""
    return await _image(call, await call.run(get_request, call.target.name))


async def _image(call: Call, stored: StoredRequest) -> ObjectImage:
    image: ObjectImage = await call.caller.offload(observe.image, call.caller.authority, stored)
    return image


async def page(call: Call, selection: Selection, after: tuple[str, str] | None, limit: int) -> Listing:
    """Some requests: those of the name, signer and labels that are selected, as far as they can be looked up."""
    signer, name = selection.exactly("spec.signerName"), selection.exactly("metadata.name")
    profile = PROFILES_BY_SIGNER.get(signer or "")
    labels = selection.labelled()
    wanted = RequestFilter(profile=profile.name if profile else signer, name=name, labels=labels)
    last = after[1] if after is not None else None
    found: Listing = await call.run(observe.list_objects, wanted, last, limit)
    return found


async def check_new(call: Call) -> None:
    """They may be made anywhere."""
    del call


async def create(
    call: Call, document: Mapping[str, Any], managed: Sequence[Share], *, dry_run: bool
) -> Changed:
    """A new request; what a rule approves is issued at once."""
    wanted = changed_from(read(call.target, document), managed_fields=tuple(render_shares(managed)))
    use_case = rehearse_submission if dry_run else submit_request
    try:
        stored: StoredRequest = await call.run(use_case, wanted)
    except InvalidError as error:
        raise of_refusal(told_as_written(error), call.target, call.user.name, document) from error
    return Changed(await _image(call, stored if dry_run else await settled(call.caller, stored)))


async def replace(
    call: Call,
    document: Mapping[str, Any],
    former: ObjectImage,
    managed: Sequence[Share],
    *,
    dry_run: bool,
) -> Changed:
    """A request with other labels and annotations, or (as the subresource says) decided."""
    match call.target.subresource:
        case "approval":
            stored = await decide(call, document, former, dry_run=dry_run)
        case "status":
            refuse_status(call.target, document, former)
            stored = None
        case _:
            stored = await _relabel(call, document, former, managed, dry_run=dry_run)
    return Changed(former if stored is None else await _image(call, stored))


async def _relabel(
    call: Call,
    document: Mapping[str, Any],
    former: ObjectImage,
    managed: Sequence[Share],
    *,
    dry_run: bool,
) -> StoredRequest:
    metadata = document["metadata"]
    wanted = Relabelling(
        texts(metadata, "labels"),
        texts(metadata, "annotations"),
        tuple(render_shares(managed)),
        former.version,
        dry_run,
    )
    try:
        stored: StoredRequest = await call.run(relabel_request, call.target.name, wanted)
    except InvalidError as error:
        raise of_refusal(told_as_written(error), call.target, call.user.name, document) from error
    return stored


async def delete(call: Call, version: int | None, *, dry_run: bool) -> ObjectImage:
    """Remove a request; give what it was."""
    gone: StoredRequest = await call.run(delete_request, call.target.name, version, dry_run=dry_run)
    return await _image(call, gone)
