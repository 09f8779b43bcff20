"""RenewRevocations: from documents to the use cases that REST calls, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.authority import revoke
from trivet.authority.revocations import observe, rehearse, standing
from trivet.authority.revocations.drafts import image_of
from trivet.pki.errors import BadRevocationError
from trivet.pki.managed_fields import read_shares
from trivet.pki.manifest import RenewRevocation, parse_renew_revocation
from trivet.pki.ownership import UPDATE, Manager, content_of, updated
from trivet.web.kubernetes.status import StatusError, not_found, of_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.authority.revocations.observe import Listing
    from trivet.authority.revoke import Revoked
    from trivet.pki.ownership import Share
    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call

_READ_METADATA: Final = ("name", "namespace", "labels", "annotations")
KNOWN_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
"""Those that every cluster has; there are others where an object stands in one."""


@dataclass(frozen=True, slots=True)
class Changed:
    """An object after a change, and what to beware of."""

    image: ObjectImage
    warnings: Sequence[str] = ()


async def get(call: Call) -> ObjectImage:
    """One object."""
    target = call.target
    return image_of(await call.run(standing.get_revocation, target.namespace, target.name))


async def page(call: Call, after: tuple[str, str] | None, limit: int) -> Listing:
    """Some objects of a namespace, or of all."""
    found: Listing = await call.run(observe.list_objects, call.target.namespace or None, after, limit)
    return found


async def create(
    call: Call, document: Mapping[str, Any], managed: Sequence[Share], *, dry_run: bool
) -> Changed:
    """A new object."""
    wanted = read(call, document)
    use_case = rehearse.rehearse_creation if dry_run else revoke.create_revocation
    revoked: Revoked = await call.run(use_case, wanted, managed=managed)
    return Changed(image_of(revoked.revocation), revoked.warnings)


async def replace(
    call: Call,
    document: Mapping[str, Any],
    version: int,
    managed: Sequence[Share],
    *,
    dry_run: bool,
) -> Changed:
    """An object with another content, if it still is at the version."""
    wanted = read(call, document)
    use_case = rehearse.rehearse_replacement if dry_run else revoke.replace_revocation
    revoked: Revoked = await call.run(use_case, wanted, expected_version=version, managed=managed)
    return Changed(image_of(revoked.revocation), revoked.warnings)


async def delete(call: Call, version: int | None, *, dry_run: bool) -> ObjectImage:
    """Let an object stand no longer; give what stood."""
    target = call.target
    use_case = rehearse.rehearse_deletion if dry_run else revoke.delete_revocation
    gone = await call.run(use_case, target.namespace, target.name, expected_version=version)
    return image_of(gone)


async def require_namespace(call: Call) -> None:
    """Refuse what is to be made in a namespace that there is not.

    Raises:
        StatusError: 404.
    """
    namespace = call.target.namespace
    if namespace not in KNOWN_NAMESPACES and namespace not in await namespaces(call):
        raise StatusError(404, "NotFound", f'namespaces "{namespace[:100]}" not found')


async def namespaces(call: Call) -> list[str]:
    """The namespaces that there are."""
    return sorted({*KNOWN_NAMESPACES, *await call.run(observe.list_namespaces)})


def read(call: Call, document: Mapping[str, Any]) -> RenewRevocation:
    """The object that a document describes; what a server sets is left out.

    Raises:
        StatusError: it is wrong, with every fault.
    """
    metadata = {key: document["metadata"][key] for key in _READ_METADATA if key in document["metadata"]}
    written = {key: document[key] for key in ("apiVersion", "kind", "spec") if key in document}
    written["metadata"] = metadata
    try:
        return parse_renew_revocation(written)
    except BadRevocationError as error:
        named = call.target.named(str(metadata.get("name", ""))[:253])
        raise of_refusal(error, named, call.user.name, written) from error


def contents(wanted: RenewRevocation) -> dict[str, Any]:
    """What of an object has managers."""
    metadata = {"labels": wanted.labels, "annotations": wanted.annotations}
    return content_of({"metadata": metadata, "spec": wanted.spec_as_written()})


def contents_of(image: ObjectImage) -> dict[str, Any]:
    """The same, of one that stands."""
    metadata = {"labels": image.labels, "annotations": image.annotations}
    return content_of({"metadata": metadata, **image.body})


def managed_by_update(
    call: Call, document: Mapping[str, Any], former: ObjectImage | None, updater: str
) -> tuple[Share, ...]:
    """Who manages what after an update; managers that the document itself names stand (apiserver's fieldmanager).

    Raises:
        InvalidError: those it names cannot be read.
    """
    own = document["metadata"].get("managedFields")
    if own == [{}]:  # asks to forget who managed what
        shares: tuple[Share, ...] = ()
    elif own:
        shares = read_shares(own)
    else:
        shares = read_shares(former.managed_fields) if former is not None else ()
    before = contents_of(former) if former is not None else {}
    manager = Manager(updater, UPDATE, call.resource.api_version)
    return updated(shares, before, contents(read(call, document)), manager, call.now())


def absent(call: Call) -> StatusError:
    """404."""
    return not_found(call.target)
