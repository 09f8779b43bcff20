"""v1.Status: how a Kubernetes API server says no, and that something was deleted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from trivet.pki.errors import (
    AccessDeniedError,
    BadRevocationError,
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    RateLimitedError,
    Refusal,
    UnavailableError,
)
from trivet.pki.ownership import FieldConflictError, told_manager, told_path
from trivet.web.problems import MAX_FAULTS, RENDERINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trivet.web.kubernetes.target import Target

JSON: Final = "application/json"
_CONFLICT: Final = 409
# apiserver's registry/generic/registry/store.go
_MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong: where, and why."""

    reason: str
    message: str
    field: str = ""


class StatusError(Exception):
    """An answer that is a Status: what the front end itself refuses, in the words of an API server."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        causes: Sequence[Cause] = (),
        retry_after: int | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what is said; `causes` for each field that is wrong, `about` where it is not about the object."""
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.causes = causes
        self.retry_after = retry_after
        self.about = about


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def not_found(target: Target) -> StatusError:
    """404 for an object."""
    return StatusError(404, "NotFound", f'{target.qualified} "{target.name}" not found')


def method_not_allowed() -> StatusError:
    """405."""
    return StatusError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def no_such_resource() -> StatusError:
    """404 for a resource that there is not."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def expired(message: str) -> StatusError:
    """410: what was asked for is no longer known."""
    return StatusError(410, "Expired", message)


def invalid(target: Target, *causes: Cause) -> StatusError:
    """422, worded as apimachinery's NewInvalid does."""
    told = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    message = f'{target.qualified_kind} "{target.name}" is invalid: {listed}'
    return StatusError(422, "Invalid", message, causes=causes, about=_about(target, target.kind))


def invalid_option(kind: str, name: str, reason: str, message: str) -> StatusError:
    """422 for a query parameter, as meta/v1's validation words it."""
    text = f'{kind}.meta.k8s.io "" is invalid: {name}: {message}'
    about = {"group": "meta.k8s.io", "kind": kind}
    return StatusError(422, "Invalid", text, causes=(Cause(reason, message, name),), about=about)


def of_refusal(refusal: Refusal, target: Target, user: str, document: object = None) -> StatusError:
    """A refusal of a use case, in the words that kubectl's users know where there are such."""
    rendering = RENDERINGS[refusal.slug]
    # A precondition that failed is 412 in HTTP's own terms; an API server says 409.
    code = _CONFLICT if rendering.reason == "Conflict" else rendering.status
    message, causes = refusal.detail, ()
    match refusal:
        case BadRevocationError() | InvalidError() if refusal.faults and document is not None:
            return invalid(
                target,
                *(_cause(fault.pointer, fault.message, document) for fault in refusal.faults[:MAX_FAULTS]),
            )
        case FieldConflictError():
            return _field_conflict(code, refusal)
        case PreconditionError():
            message = f'Operation cannot be fulfilled on {target.qualified} "{target.name}": {_MODIFIED}'
        case ConflictError() if rendering.reason == "AlreadyExists":
            message = f'{target.qualified} "{target.name}" already exists'
        case NotFoundError() if target.plural:
            message = f'{target.qualified} "{target.name}" not found' if target.name else refusal.detail
        case AccessDeniedError():
            message = f"{target.forbidden(user)}: {refusal.detail}"
    after = refusal.retry_after if isinstance(refusal, RateLimitedError | UnavailableError) else None
    seconds = max(1, round(after.total_seconds())) if after is not None else None
    about = _about(target, target.kind if rendering.reason == "Invalid" else target.plural)
    return StatusError(code, rendering.reason, message, causes=causes, retry_after=seconds, about=about)


def _about(target: Target, kind: str) -> dict[str, str]:
    """What a Status is about; of what is invalid the kind, else the resource."""
    named = {"name": target.name, "group": target.group, "kind": kind}
    return {key: value for key, value in named.items() if value and target.plural}


def _field_conflict(code: int, refusal: FieldConflictError) -> StatusError:
    causes = tuple(
        Cause("FieldManagerConflict", f"conflict with {told_manager(manager)}", told_path(path))
        for manager, path in refusal.owners[:MAX_FAULTS]
    )
    return StatusError(code, "Conflict", refusal.detail, causes=causes)


def _cause(pointer: str, message: str, document: object) -> Cause:
    """A fault as field.Error words it, with what stands there."""
    place, value = _look_up(pointer, document)
    if value is None and message.startswith("is required"):
        return Cause("FieldValueRequired", f"Required value: {message}", place)
    shown = json.dumps(value)[:200]
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {message}", place)


def _look_up(pointer: str, document: object) -> tuple[str, object]:
    """A pointer as a field path (spec.revocations[0].ip), and the value that it points to."""
    place, value = "", document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdigit():
            place += f"[{name}]"
            value = value[int(name)] if int(name) < len(value) else None
        else:
            place += f".{name}" if place else name
            value = value.get(name) if isinstance(value, dict) else None
    return place, value


def failure(error: StatusError, target: Target | None) -> dict[str, Any]:
    """The Status of an error."""
    about = error.about
    if about is None:
        about = _about(target, target.plural) if target is not None else {}
    details: dict[str, Any] = dict(about)
    if error.causes:
        details["causes"] = [
            {"reason": cause.reason, "message": cause.message}
            | ({"field": cause.field} if cause.field else {})
            for cause in error.causes
        ]
    if error.retry_after is not None:
        details["retryAfterSeconds"] = error.retry_after
    return _status("Failure", error.message, error.reason, details, error.code)


def deleted(target: Target, uid: str) -> dict[str, Any]:
    """The Status of a deletion that is done."""
    details = {"name": target.name, "group": target.group, "kind": target.plural, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _status(status: str, message: str, reason: str, details: Mapping[str, Any], code: int) -> dict[str, Any]:
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status}
    body |= {"message": message, "reason": reason}
    return body | ({"details": dict(details)} if details else {}) | {"code": code}


def answer(error: StatusError, target: Target | None) -> Response:
    """The answer to a request that is refused."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    if error.code == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = 'Bearer realm="trivet"'
    return json_response(failure(error, target), error.code, headers)


def json_response(
    content: object, code: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON
) -> Response:
    """An answer in JSON."""
    return Response(encode(content), code, headers, media_type)


def encode(content: object) -> bytes:
    """JSON as short as it goes; what is no Unicode is escaped."""
    return json.dumps(content, separators=(",", ":")).encode()
