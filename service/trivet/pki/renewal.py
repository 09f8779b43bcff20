"""When a certificate should be renewed (the shape of RFC 9773)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.pki.validity import Validity

if TYPE_CHECKING:
    from datetime import datetime

# Around two thirds of the lifetime; a window a tenth of it wide spreads a fleet that was made at once.
WINDOW_START, WINDOW_END = 0.62, 0.72


def suggested_window(validity: Validity, replaced_at: datetime | None = None) -> Validity:
    """The window in which to renew: pick a random moment within it.

    Args:
        validity: of the certificate.
        replaced_at: when it was revoked or superseded; the window then lies in the past, so that it is
            replaced at once (RFC 9773 section 4.2).
    """
    if replaced_at is not None:
        end = replaced_at.replace(microsecond=0)
        return Validity(end - timedelta(minutes=1), end)
    start = validity.not_before + validity.lifetime * WINDOW_START
    end = validity.not_before + validity.lifetime * WINDOW_END
    return Validity(start.replace(microsecond=0), end.replace(microsecond=0))
