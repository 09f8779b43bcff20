"""RenewRevocations: from documents to the use cases that REST calls, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.authority import revoke
from trivet.authority.revocations import observe, rehearse, standing
from trivet.authority.revocations.drafts import image_of
from trivet.pki.errors import BadRevocationError
from trivet.pki.manifest import RenewRevocation, parse_renew_revocation
from trivet.pki.ownership import content_of
from trivet.web.kubernetes.objects import Changed
from trivet.web.kubernetes.schema import RENEW_REVOCATION_SCHEMA
from trivet.web.kubernetes.status import StatusError, of_refusal
from trivet.web.kubernetes.tables import column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.authority.follow import Listing, View
    from trivet.authority.revoke import Revoked
    from trivet.pki.ownership import Share
    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call
    from trivet.web.kubernetes.listing import Selection

SCHEMA: Final = RENEW_REVOCATION_SCHEMA
FIELDS: Final = ("metadata.name", "metadata.namespace")
COLUMNS: Final = (
    column("Name", "string", "Name must be unique within a namespace.", form="name"),
    column("Entries", "integer", "How many entries it has."),
    column("Age", "string", "How long it has stood."),
    column("Kinds", "string", "The kinds of its entries.", priority=1),
    column("Description", "string", "What it is for.", priority=1),
)
_SHOWN: Final = 60
_READ_METADATA: Final = ("name", "namespace", "labels", "annotations")
KNOWN_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
"""Those that every cluster has; there are others where an object stands in one."""


def cells(image: ObjectImage, age: str) -> list[Any]:
    """The row of an object."""
    spec = image.body.get("spec", {})
    entries = spec.get("revocations", [])
    kinds = ",".join(dict.fromkeys(str(entry.get("kind", "")) for entry in entries))
    described = str(spec.get("description", ""))
    shown = described if len(described) <= _SHOWN else described[: _SHOWN - 3] + "..."
    return [image.name, len(entries), age, kinds, shown]


def kept(document: dict[str, Any], former: ObjectImage) -> dict[str, Any]:
    """All of a document."""
    del former
    return document


async def view(call: Call) -> View:
    """What of them whoever asks may see."""
    found: View = await call.run(observe.view)
    return found


async def get(call: Call) -> ObjectImage:
    """One object."""
    target = call.target
    return image_of(await call.run(standing.get_revocation, target.namespace, target.name))


async def page(call: Call, selection: Selection, after: tuple[str, str] | None, limit: int) -> Listing:
    """Some objects of a namespace, or of all."""
    del selection  # they are few enough to be looked at one by one
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
    former: ObjectImage,
    managed: Sequence[Share],
    *,
    dry_run: bool,
) -> Changed:
    """An object with another content, if it still is at its version."""
    wanted = read(call, document)
    use_case = rehearse.rehearse_replacement if dry_run else revoke.replace_revocation
    revoked: Revoked = await call.run(use_case, wanted, expected_version=former.version, managed=managed)
    return Changed(image_of(revoked.revocation), revoked.warnings)


async def delete(call: Call, version: int | None, *, dry_run: bool) -> ObjectImage:
    """Let an object stand no longer; give what stood."""
    target = call.target
    use_case = rehearse.rehearse_deletion if dry_run else revoke.delete_revocation
    gone = await call.run(use_case, target.namespace, target.name, expected_version=version)
    return image_of(gone)


async def check_new(call: Call) -> None:
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


def contents(call: Call, document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document has managers.

    Raises:
        StatusError: it is wrong.
    """
    wanted = read(call, document)
    metadata = {"labels": wanted.labels, "annotations": wanted.annotations}
    return content_of({"metadata": metadata, "spec": wanted.spec_as_written()})
