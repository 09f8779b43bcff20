"""The query parameters of a change (meta/v1 CreateOptions, UpdateOptions, PatchOptions, DeleteOptions)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.web.kubernetes.status import StatusError, bad_request, invalid_option
from trivet.web.kubernetes.target import is_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

_VALIDATIONS: Final = ("Ignore", "Warn", "Strict")
_KINDS: Final = {
    "POST": "CreateOptions",
    "PUT": "UpdateOptions",
    "PATCH": "PatchOptions",
    "DELETE": "DeleteOptions",
}
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")


@dataclass(frozen=True, slots=True)
class Options:
    """How a change is to be made.

    Attributes:
        dry_run: only as if.
        validation: what becomes of unknown fields: Ignore, Warn or Strict.
        manager: who manages what is set; empty where the query names nobody.
        force: take fields from other managers.
    """

    dry_run: bool
    validation: str
    manager: str
    force: bool
    user_agent: str

    @property
    def updater(self) -> str:
        """The manager of an update: as named, else the program that asks."""
        return self.manager or self.user_agent.partition("/")[0][:128] or "unknown"


def options_of(request: Request) -> Options:
    """Read the parameters.

    Raises:
        StatusError: one of them has a value that there is not.
    """
    query, kind = request.query_params, _KINDS.get(request.method, "ListOptions")
    dry_run, validation = query.getlist("dryRun"), query.get("fieldValidation") or "Warn"
    if other := next((value for value in dry_run if value != "All"), None):
        raise unsupported_value(kind, "dryRun", other, ("All",))
    if validation not in _VALIDATIONS:
        raise unsupported_value(kind, "fieldValidation", validation, _VALIDATIONS)
    manager = query.get("fieldManager") or ""
    if manager and not _NAME.fullmatch(manager):
        message = "Invalid value: must be 1 to 128 printable characters"
        raise invalid_option(kind, "fieldManager", "FieldValueInvalid", message)
    agent = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    return Options(bool(dry_run), validation, manager, is_set(query.get("force")), agent)


def unsupported_value(kind: str, name: str, value: str, supported: Sequence[str]) -> StatusError:
    """422 for a value that there is not, in the words of apimachinery's field.NotSupported."""
    quoted = ", ".join(f'"{item}"' for item in supported)
    message = f'Unsupported value: "{value[:100]}": supported values: {quoted}'
    return invalid_option(kind, name, "FieldValueNotSupported", message)


def number_of(request: Request, name: str) -> int | None:
    """A parameter that is a number, not negative.

    Raises:
        StatusError: it is none.
    """
    text = request.query_params.get(name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise bad_request(f"{name} must be a number that is not negative")
    return int(text)
