"""From an approved certificate request to its certificate, by way of the queue that all certificates come from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trivet.authority.approval import fulfil
from trivet.pki.errors import Refusal
from trivet.store.requests import RequestState, StoredRequest

if TYPE_CHECKING:
    from trivet.web.authentication import Caller


async def settled(caller: Caller, stored: StoredRequest) -> StoredRequest:
    """Issue for a request if it is approved, and give it as it is then."""
    if stored.state is not RequestState.APPROVED:
        return stored
    # It stands on the request; and what the queue has no place for is issued soon after.
    with suppress(Refusal):
        requester, wish = await caller.offload(fulfil.wish_for, caller.authority, stored)
        await caller.issuing(requester, wish)
    now_standing: StoredRequest = await caller.offload(fulfil.as_it_stands, caller.authority, stored)
    return now_standing
