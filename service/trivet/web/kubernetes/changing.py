"""POST, PUT and PATCH of objects: optimistic concurrency, dry runs, warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.pki.errors import NotFoundError, PreconditionError, Refusal
from trivet.pki.managed_fields import read_shares
from trivet.pki.ownership import APPLY, Manager, applied, content_of
from trivet.web.kubernetes.answers import object_answer
from trivet.web.kubernetes.bodies import Document, media_type_of, read_body, read_json, read_yaml, unsupported
from trivet.web.kubernetes.documents import (
    check_document,
    check_place,
    document_of,
    generated_name,
    metadata_of,
    refuse_patched,
    resource_version_of,
)
from trivet.web.kubernetes.managing import contents_of, managed_by_update
from trivet.web.kubernetes.options import Options, options_of
from trivet.web.kubernetes.patches import json_patch, merge_patch, strategic_merge_patch
from trivet.web.kubernetes.schema import known_fields
from trivet.web.kubernetes.status import (
    Cause,
    StatusError,
    bad_request,
    invalid,
    invalid_option,
    of_refusal,
)

if TYPE_CHECKING:
    from starlette.responses import Response

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
_PATCHES: Final = {
    JSON_PATCH: json_patch,
    MERGE_PATCH: merge_patch,
    STRATEGIC_PATCH: strategic_merge_patch,
}
_TRIES: Final = 5  # as apiserver's handlers/patch.go
_RANDOM_BITS: Final = 64


async def create(call: Call) -> Response:
    """POST of a collection."""
    options = options_of(call.request)
    call.require(dry_run=options.dry_run)
    found = await read_body(call, call.resource.kind)
    document, warnings = check_document(found, call.target, call.resource, call.objects.SCHEMA, options)
    metadata = document["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):  # in protobuf an empty name is written, too
        random = call.caller.authority.random_bits(_RANDOM_BITS)
        metadata["name"] = generated_name(metadata["generateName"], random)
    if resource_version_of(document):
        raise bad_request("resourceVersion should not be set on objects to be created")
    await call.objects.check_new(call)
    call = call.named(str(metadata.get("name", ""))[:253])
    managed = managed_by_update(call, document, None, options.updater)
    try:
        changed = await call.objects.create(call, document, managed, dry_run=options.dry_run)
    except Refusal as refusal:  # about the object by its name, which the path does not have
        raise of_refusal(refusal, call.target, call.user.name) from refusal
    return object_answer(call, changed.image, 201, (*warnings, *changed.warnings))


async def replace(call: Call) -> Response:
    """PUT of an object."""
    options = options_of(call.request)
    call.require(dry_run=options.dry_run)
    found = await read_body(call, call.resource.kind)
    document, warnings = check_document(found, call.target, call.resource, call.objects.SCHEMA, options)
    names_version = bool(resource_version_of(document))
    former = await call.objects.get(call)
    if call.resource.needs_version and not names_version:
        message = "Invalid value: 0x0: must be specified for an update"
        raise invalid(call.target, Cause("FieldValueInvalid", message, "metadata.resourceVersion"))
    for _ in range(0 if names_version else _TRIES - 1):
        try:
            return await _put(call, document, former, options, warnings)
        except PreconditionError:  # of whatever stands, as it names no version
            former = await call.objects.get(call)
    return await _put(call, document, former, options, warnings)


async def _put(
    call: Call, document: dict[str, Any], former: ObjectImage, options: Options, warnings: list[str]
) -> Response:
    check_precondition(call, document, former)
    document = call.objects.kept(document, former)
    whole = not call.target.subresource
    managed = managed_by_update(call, document, former, options.updater) if whole else ()
    changed = await call.objects.replace(call, document, former, managed, dry_run=options.dry_run)
    return object_answer(call, changed.image, 200, (*warnings, *changed.warnings))


def check_precondition(call: Call, document: dict[str, Any], former: ObjectImage) -> None:
    """Refuse what was made of another version, or of another object of that name.

    Raises:
        StatusError: 409.
    """
    version, uid = resource_version_of(document), document["metadata"].get("uid")
    if version and version != str(former.version):
        raise _outdated(call)
    if uid and uid != str(former.id):
        message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {former.id}"
        name = f'{call.target.qualified} "{call.target.name}"'
        raise StatusError(409, "Conflict", f"Operation cannot be fulfilled on {name}: {message[:300]}")


def _outdated(call: Call) -> StatusError:
    return of_refusal(PreconditionError("another version"), call.target, call.user.name)


async def patch(call: Call) -> Response:
    """PATCH of an object: again where somebody else was faster, unless the patch itself names a version."""
    options, media_type = options_of(call.request), media_type_of(call.request)
    call.require(dry_run=options.dry_run)
    body = await call.request.body()
    accepted = _accepted(call)
    if media_type not in accepted:
        raise unsupported(accepted)
    if media_type == APPLY_PATCH:
        read, one_try = read_yaml, _apply
    else:
        read, one_try = read_json, _patch
        if options.force:
            message = "Forbidden: may not be specified for non-apply patch"
            raise invalid_option("PatchOptions", "force", "FieldValueForbidden", message)
    found = await call.caller.offload(read, body)
    for _ in range(_TRIES - 1):
        try:
            return await one_try(call, found, body, options)
        except PreconditionError:
            continue
    return await one_try(call, found, body, options)


def _accepted(call: Call) -> tuple[str, ...]:
    strategic = (STRATEGIC_PATCH,) if call.resource.patches_strategically else ()
    applying = () if call.target.subresource else (APPLY_PATCH,)
    return (JSON_PATCH, MERGE_PATCH, *strategic, *applying)


async def _patch(call: Call, found: Document, body: bytes, options: Options) -> Response:
    former = await call.objects.get(call)
    standing = document_of(former, call.resource)
    how = _PATCHES[media_type_of(call.request)]
    patched = check_place(await call.caller.offload(how, standing, found.value), call.target, call.resource)
    document, unknown = known_fields(patched, call.objects.SCHEMA)
    faults = [f'unknown field "{path[:200]}"' for path in unknown]
    faults += [f'duplicate field "{name[:200]}"' for name in found.doubled]
    if faults and options.validation == "Strict":
        raise refuse_patched(faults, body, call.target)
    return await _put(call, document, former, options, faults if options.validation == "Warn" else [])


async def _apply(call: Call, found: Document, body: bytes, options: Options) -> Response:
    """Server-side apply: what the document says, and nothing that other managers say differently."""
    del body
    if not options.manager:
        message = "Required value: is required for apply patch"
        raise invalid_option("PatchOptions", "fieldManager", "FieldValueRequired", message)
    document = check_place(found.value, call.target, call.resource)
    if document["metadata"].get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    wanted, unknown = known_fields(document, call.objects.SCHEMA)
    if unknown or found.doubled:
        where = f"{call.target.namespace}/{call.target.name}; {call.resource.api_version}"
        message = f"failed to create typed patch object ({where}, Kind={call.resource.kind})"
        raise bad_request(f"{message}: .{(*unknown, *found.doubled)[0][:200]}: field not declared in schema")
    manager = Manager(options.manager, APPLY, call.resource.api_version)
    try:
        former = await call.objects.get(call)
    except NotFoundError:
        return await _apply_new(call, wanted, manager, options)
    check_precondition(call, wanted, former)
    shares = read_shares(former.managed_fields)
    live, now = contents_of(call, former), call.now()
    content, managed = applied(shares, live, content_of(wanted), manager, now, force=options.force)
    merged = wanted | {"spec": {}} | content
    merged["metadata"] = metadata_of(former) | {"labels": {}, "annotations": {}} | content.get("metadata", {})
    changed = await call.objects.replace(call, merged, former, managed, dry_run=options.dry_run)
    return object_answer(call, changed.image, 200, changed.warnings)


async def _apply_new(call: Call, wanted: dict[str, Any], manager: Manager, options: Options) -> Response:
    if resource_version_of(wanted):
        raise _outdated(call)
    await call.objects.check_new(call)
    _, managed = applied((), {}, content_of(wanted), manager, call.now(), force=options.force)
    changed = await call.objects.create(call, wanted, managed, dry_run=options.dry_run)
    return object_answer(call, changed.image, 201, changed.warnings)
