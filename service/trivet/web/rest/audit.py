"""The audit trail."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from trivet.authority import record, search
from trivet.authority.access import Permission
from trivet.web.authentication import Authenticated
from trivet.web.rest import render, schemas
from trivet.web.rest.negotiation import decode_id_cursor, encode_cursor, link_next
from trivet.web.rest.operation import Cursor, Limit, operation

router = APIRouter(prefix="/audit-records", tags=["audit"])


@router.get("", **operation("listAuditRecords", Permission.READ_AUDIT))
async def list_audit_records(
    request: Request, response: Response, caller: Authenticated, limit: Limit = 100, cursor: Cursor = None
) -> schemas.AuditRecordPage:
    """List changes that were made, newest first."""
    place = decode_id_cursor(cursor)
    found = await caller.offload(record.list_changes, caller.authority, caller.requester, place, limit + 1)
    names = await caller.offload(search.cluster_names, caller.authority)
    following = encode_cursor(str(found[limit - 1].id)) if len(found) > limit else None
    link_next(request, response, following)
    return schemas.AuditRecordPage(
        items=[render.audit_record(item, names) for item in found[:limit]], next=following
    )
