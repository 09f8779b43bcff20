"""Which form an answer takes: the object itself, a Table for people, or its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from trivet.web.kubernetes.status import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

OBJECT: Final = ""
TABLE: Final = "Table"
PARTIAL: Final = "PartialObjectMetadata"
_FORMS: Final = {
    None: OBJECT,
    TABLE: TABLE,
    PARTIAL: PARTIAL,
    "PartialObjectMetadataList": PARTIAL,
}
_JSON: Final = {"application/json", "application/*", "*/*"}
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """One media type that a client accepts, with its parameters."""

    media_type: str
    parameters: Mapping[str, str]


@lru_cache(maxsize=256)
def accepted(header: str) -> tuple[Wanted, ...]:
    """What an Accept header names, in its order, which clients of Kubernetes mean by it."""
    found = []
    for item in header.split(",")[:_MOST]:
        media_type, *parameters = (part.strip() for part in item.split(";", _MOST)[:_MOST])
        pairs = (parameter.partition("=") for parameter in parameters)
        found.append(Wanted(media_type.lower(), {key: value for key, _, value in pairs}))
    return tuple(found)


def accept_of(request: Request) -> tuple[Wanted, ...]:
    """What a request accepts; anything where it does not say."""
    return accepted(",".join(request.headers.getlist("accept")) or "*/*")


def form_of(request: Request) -> str:
    """The form of an answer about objects.

    Raises:
        StatusError: 406, none is accepted that there is.
    """
    for wanted in accept_of(request):
        if wanted.media_type not in _JSON:
            continue
        asked = wanted.parameters.get("as")
        version = wanted.parameters.get("v", "v1")
        if asked is None or (version == "v1" and wanted.parameters.get("g", "meta.k8s.io") == "meta.k8s.io"):
            form = _FORMS.get(asked)
            if form is not None:
                return form
    raise not_acceptable()


def require_json(request: Request) -> None:
    """Refuse who does not take JSON.

    Raises:
        StatusError: 406.
    """
    if not any(wanted.media_type in _JSON for wanted in accept_of(request)):
        raise not_acceptable()


def not_acceptable() -> StatusError:
    """406."""
    message = "only the following media types are accepted: application/json"
    return StatusError(406, "NotAcceptable", message)
