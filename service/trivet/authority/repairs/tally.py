"""How far each stage of a repair is, counted from what the cluster holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.authority.renewals.identities import is_fresh, stage
from trivet.pki.repair import STAGES, Stage, Tally

if TYPE_CHECKING:
    from datetime import datetime

    from trivet.authority.renewals.identities import Holdings
    from trivet.store.identities import CurrentCertificate
    from trivet.store.repairs import RepairWindow


def tallies_of(held: Holdings, window: RepairWindow, now: datetime) -> dict[Stage, Tally]:
    """What stands in each stage. An identity whose certificate is in force is fresh, whenever it was issued."""
    counted = {each: [0, 0] for each in STAGES}
    moved: dict[Stage, datetime] = {}
    for one in held.waited_for:
        own = stage(one)
        counted[own][0] += 1
        if is_fresh(one, now):
            counted[own][1] += 1
            if one.issued_at >= window.opened_at and _is_first(one, window):
                moved[own] = max(one.issued_at, moved.get(own, one.issued_at))
    return {each: Tally(total, fresh, moved.get(each)) for each, (total, fresh) in counted.items()}


def _is_first(one: CurrentCertificate, window: RepairWindow) -> bool:
    """Whether it is its holder's first within the window: one that renews again and again moves nothing."""
    # The first 48 bits of an id are the milliseconds since 1970 (UUIDv7, RFC 9562 section 5.7).
    return one.parent_id is None or one.parent_id.int < int(window.opened_at.timestamp() * 1000) << 80
