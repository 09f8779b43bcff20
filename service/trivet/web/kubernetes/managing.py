"""Who manages which field after a change (apiserver's fieldmanager)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.pki.managed_fields import read_shares
from trivet.pki.ownership import UPDATE, Manager, updated
from trivet.web.kubernetes.documents import document_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.pki.ownership import Share
    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call


def managed_by_update(
    call: Call, document: Mapping[str, Any], former: ObjectImage | None, updater: str
) -> tuple[Share, ...]:
    """Who manages what after an update; managers that the document itself names stand.

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
    before = contents_of(call, former) if former is not None else {}
    manager = Manager(updater, UPDATE, call.resource.api_version)
    return updated(shares, before, call.objects.contents(call, document), manager, call.now())


def contents_of(call: Call, image: ObjectImage) -> dict[str, Any]:
    """What of an object that stands has managers."""
    return call.objects.contents(call, document_of(image, call.resource))
