"""The audit trail."""

from __future__ import annotations

from fastapi import APIRouter

from trivet.authority import record, search
from trivet.authority.access import Permission
from trivet.web.authentication import Authenticated
from trivet.web.rest import render, schemas
from trivet.web.rest.operation import operation
from trivet.web.rest.paging import Paged

router = APIRouter(prefix="/audit-records", tags=["audit"])


@router.get("", **operation("listAuditRecords", Permission.READ_AUDIT))
async def list_audit_records(caller: Authenticated, paged: Paged) -> schemas.AuditRecordPage:
    """List changes that were made, newest first."""
    place = paged.after_id()
    found = await caller.ask(record.list_changes, place, paged.look_for)
    names = await caller.offload(search.cluster_names, caller.authority)
    page, following = paged.page(found, lambda one: one.id)
    return schemas.AuditRecordPage(items=[render.audit_record(item, names) for item in page], next=following)
