"""Do a thing once for an Idempotency-Key, however often it is asked."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from trivet.pki.errors import IdempotencyError, InvalidError
from trivet.store import idempotency

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.access import Requester


_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def fingerprint(*parts: object) -> str:
    """The SHA-256 of all that was asked, to tell a repetition from something else under the same key."""
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()


def check_key(key: str | None) -> None:
    """Refuse what is no key.

    Raises:
        InvalidError: it is not 1 to 255 visible ASCII characters.
    """
    if key is not None and not _KEY.fullmatch(key):
        message = "an Idempotency-Key has 1 to 255 visible ASCII characters, like a UUID"
        raise InvalidError(message)


def key_reused() -> IdempotencyError:
    """The refusal of a key that came with something else before."""
    return IdempotencyError("this Idempotency-Key came with a different request before; use a new one")


def take(
    connection: Connection, requester: Requester, key: str | None, asked: str, reference: str, now: datetime
) -> str | None:
    """Take a key for what will be made under `reference`; without a key, do nothing.

    Returns:
        None when the key is new; otherwise the reference of what was made under it before.

    Raises:
        InvalidError: it is not 1 to 255 visible ASCII characters.
        IdempotencyError: something else was asked under this key before.
    """
    if key is None:
        return None
    check_key(key)
    wanted = idempotency.Claim(requester.name, key, asked, reference)
    held = idempotency.claim(connection, wanted, now)
    if held.fingerprint != asked:
        raise key_reused()
    return held.reference if held.reference != reference else None


def give_back(connection: Connection, requester: Requester, key: str | None) -> None:
    """Free a key again, because nothing was made."""
    if key is not None:
        idempotency.release(connection, requester.name, key)
