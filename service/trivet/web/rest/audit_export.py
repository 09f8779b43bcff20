"""The proof of what was decided, as a stream of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from trivet.authority.access import Permission
from trivet.authority.proof import export
from trivet.web.authentication import Authenticated, Caller
from trivet.web.rest import schemas
from trivet.web.rest.operation import operation, text_answers

router = APIRouter(prefix="/audit-export", tags=["audit"])
LINES: Final = "application/jsonl"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Lines of JSON, which `trivet audit verify` verifies.",
        "content": text_answers((LINES,)),
    }
}


@router.get(
    "", response_class=Response, responses=_ANSWERS, **operation("exportAudit", Permission.READ_AUDIT)
)
async def export_audit(
    caller: Authenticated,
    cluster: Annotated[
        str | None, Query(max_length=63, description="Show the records of this cluster only.")
    ] = None,
    since: Annotated[
        schemas.Moment | None, Query(description="Begin at the last checkpoint before this time.")
    ] = None,
    until: Annotated[
        schemas.Moment | None, Query(description="End with the first checkpoint at or after this time.")
    ] = None,
) -> Response:
    """Seal what there is, and export decision records, audit trail, entries and checkpoints, to be verified offline."""
    pages = await caller.ask(export.export, cluster=cluster, since=since, until=until)
    first = await caller.offload(next, pages, b"")  # so that what fails at once is answered with a problem
    return StreamingResponse(_stream(caller, first, pages), media_type=LINES)


async def _stream(caller: Caller, first: bytes, pages: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Page after page, each read when the client has taken the one before."""
    yield first
    while page := await caller.offload(next, pages, b""):
        yield page
