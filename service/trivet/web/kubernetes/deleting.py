"""DELETE of an object and of a collection: both heed the query and the body (meta/v1 DeleteOptions)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from trivet.web.kubernetes.answers import list_answer
from trivet.web.kubernetes.bodies import read_body
from trivet.web.kubernetes.changing import check_precondition
from trivet.web.kubernetes.listing import find_asked, selection_of
from trivet.web.kubernetes.options import options_of, unsupported_value
from trivet.web.kubernetes.status import bad_request, deleted, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from trivet.store.changes import ObjectImage
    from trivet.web.kubernetes.call import Call

_KIND: Final = "DeleteOptions"
_ALL: Final = "All"


@dataclass(frozen=True, slots=True)
class _Asked:
    """How to delete.

    Attributes:
        dry_run: only as if.
        preconditions: the uid and the resourceVersion that an object must have.
    """

    dry_run: bool
    preconditions: Mapping[str, str] = field(default_factory=dict)

    def version_of(self, image: ObjectImage) -> int | None:
        """The version at which an object is to be deleted, where that matters."""
        return image.version if self.preconditions else None


async def delete(call: Call) -> Response:
    """DELETE of an object."""
    asked = await _asked(call)
    call.require(dry_run=asked.dry_run)
    former = await call.objects.get(call)
    _check(call, asked, former)
    gone = await call.objects.delete(call, asked.version_of(former), dry_run=asked.dry_run)
    return json_response(deleted(call.target, str(gone.id)))


async def delete_collection(call: Call) -> Response:
    """DELETE of a collection: of each object that the selectors select; of none where one fails a precondition."""
    asked = await _asked(call)
    call.require(dry_run=asked.dry_run)
    found = await find_asked(call, selection_of(call))
    for image in found.images:
        _check(_about(call, image), asked, image)
    gone = [
        await call.objects.delete(_about(call, image), asked.version_of(image), dry_run=asked.dry_run)
        for image in found.images
    ]
    return list_answer(call, gone, {"resourceVersion": str(found.version)})


def _about(call: Call, image: ObjectImage) -> Call:
    return replace(call, target=call.target.named(image.name, image.namespace))


def _check(call: Call, asked: _Asked, image: ObjectImage) -> None:
    check_precondition(call, {"metadata": asked.preconditions}, image)


async def _asked(call: Call) -> _Asked:
    """What the query and the body say; a dry run where either wants one (client-go writes it into the body).

    Raises:
        StatusError: one of them says what there is not. Whoever meant a dry run must never delete.
    """
    options = options_of(call.request)
    body = (await read_body(call, _KIND)).value if await call.request.body() else {}
    if not isinstance(body, dict):
        raise bad_request("the body must be DeleteOptions")
    return _Asked(options.dry_run or _is_dry_run(body), _preconditions(body))


def _is_dry_run(body: Mapping[str, Any]) -> bool:
    given = body.get("dryRun")
    if given is None:
        return False
    wrong = [item for item in given if item != _ALL] if isinstance(given, list) else [given]
    for item in wrong:
        shown = item if isinstance(item, str) else json.dumps(item)
        raise unsupported_value(_KIND, "dryRun", shown, (_ALL,))
    return bool(given)


def _preconditions(body: Mapping[str, Any]) -> Mapping[str, str]:
    given = body.get("preconditions")
    found = {} if given is None else given
    if not isinstance(found, dict):
        raise bad_request("preconditions must be an object")
    stated = {name: found[name] for name in ("uid", "resourceVersion") if found.get(name) is not None}
    if not all(isinstance(value, str) for value in stated.values()):
        raise bad_request("preconditions.uid and preconditions.resourceVersion must be strings")
    return stated
