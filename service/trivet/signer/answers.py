"""What an API server answers: parts of lists, events, refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trivet.signer.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from trivet.signer.resources import Object

_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch told: ADDED, MODIFIED, DELETED or BOOKMARK, with the object as it is (or last was)."""

    kind: str
    object: Object


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: its objects, the list's resourceVersion, and the token of the next part."""

    items: list[Object]
    version: str
    following: str | None


def event_of(line: str) -> Event:
    """Read one line of a watch.

    Raises:
        StatusError: it is an error, 410 for a version that is too old.
        ValueError: it is no event.
    """
    document = json.loads(line)
    kind, found = (document.get("type"), document.get("object")) if isinstance(document, dict) else ("", None)
    if not isinstance(kind, str) or not isinstance(found, dict):
        message = "a watch told what is no event"
        raise ValueError(message)  # noqa: TRY004  as for what is no JSON
    if kind == "ERROR":
        raise _status_error(found, int(found.get("code") or 0), None)
    return Event(kind, found)


def refusal_of(response: httpx.Response) -> StatusError:
    """Read a refusal; what is no v1.Status comes from something in between."""
    told = response.headers.get("Retry-After", "")
    document: object = None
    if response.headers.get("Content-Type", "").startswith("application/json"):
        try:
            document = response.json()
        except ValueError:
            document = None
    if not isinstance(document, dict):
        document = {"message": f"{response.reason_phrase}: {response.text[:_LONGEST_TEXT].strip()}"}
    return _status_error(document, response.status_code, float(told) if told.isdecimal() else None)


def _status_error(status: Mapping[str, Any], code: int, told: float | None) -> StatusError:
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    seconds = details.get("retryAfterSeconds")
    after = float(seconds) if isinstance(seconds, int) and seconds > 0 else told
    words = str(status.get("message") or "")[:_LONGEST_TEXT]
    return StatusError(code, str(status.get("reason") or ""), words, after, str(details.get("name") or ""))
