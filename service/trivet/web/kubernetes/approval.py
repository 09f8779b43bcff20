"""The subresources `approval` and `status` of a CertificateSigningRequest: conditions that come, and none that goes.

The form is checked as pkg/apis/certificates/validation does; who may decide, and what can still be decided, the use
cases say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.authority.approval import decide as use_cases
from trivet.authority.approval.decide import Choice
from trivet.web.kubernetes.status import Cause, bad_request, invalid
from trivet.web.settling import settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trivet.store.changes import ObjectImage
    from trivet.store.requests import StoredRequest
    from trivet.web.kubernetes.call import Call
    from trivet.web.kubernetes.target import Target

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
_WHERE: Final = "status.conditions"
_MOST: Final = 100


async def decide(
    call: Call, document: Mapping[str, Any], former: ObjectImage, *, dry_run: bool
) -> StoredRequest | None:
    """Approve (and issue) or deny, as the new condition says; None where there is no new one.

    Raises:
        StatusError: the conditions are wrong, or take one away.
    """
    new = _new_conditions(call.target, document, former)
    if not new:
        return None
    kind, condition = next(iter(new.items()))
    choice = Choice(
        call.cluster,
        call.target.name,
        condition.get("message") or None,
        former.version,
        condition.get("reason") or None,
        dry_run,
    )
    use_case = use_cases.approve_request if kind == APPROVED else use_cases.deny_request
    caller = call.caller
    stored: StoredRequest = await caller.ask(use_case, choice)
    return stored if dry_run else await settled(caller, stored)


def refuse_status(target: Target, document: Mapping[str, Any], former: ObjectImage) -> None:
    """Let nobody but Trivet say what became of a request; to say what it says already changes nothing.

    Raises:
        StatusError: 422.
    """
    status, standing = _status(document), former.body["status"]
    given = status.get("certificate") or None
    if given != standing.get("certificate"):
        message = "Forbidden: Trivet is the signer, and sets it when the request is approved"
        if "certificate" in standing:
            message = "Forbidden: updates may not modify existing certificate content"
        raise invalid(target, Cause("FieldValueForbidden", message, "status.certificate"))
    # Decisions are taken by way of `approval` alone; here they stay as they are (certificates/strategy.go).
    decided = {APPROVED, DENIED}
    wanted = {kind for kind in _conditions(target, status) if kind not in decided}
    known = {each["type"] for each in standing.get("conditions", ()) if each["type"] not in decided}
    if wanted != known:
        message = "Forbidden: Trivet is the signer, and alone says that a request has failed"
        raise invalid(target, Cause("FieldValueForbidden", message, _WHERE))


def _new_conditions(
    target: Target, document: Mapping[str, Any], former: ObjectImage
) -> dict[str, Mapping[str, Any]]:
    wanted = _conditions(target, _status(document))
    known = [condition["type"] for condition in former.body["status"].get("conditions", ())]
    for kind in known:
        if kind not in wanted:
            message = f'Forbidden: updates may not remove a condition of type "{kind}"'
            raise invalid(target, Cause("FieldValueForbidden", message, _WHERE))
    new = {kind: condition for kind, condition in wanted.items() if kind not in known}
    for kind in new:
        if kind not in {APPROVED, DENIED}:
            message = f'Unsupported value: "{kind[:80]}": supported values: "{APPROVED}", "{DENIED}"'
            raise invalid(target, Cause("FieldValueNotSupported", message, f"{_WHERE}.type"))
    if {APPROVED, DENIED} <= wanted.keys():
        message = f'Invalid value: "{DENIED}": {APPROVED} and {DENIED} conditions are mutually exclusive'
        raise invalid(target, Cause("FieldValueInvalid", message, f"{_WHERE}.type"))
    return new


def _conditions(target: Target, status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    given = status.get("conditions") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given) or len(given) > _MOST:
        raise bad_request(f"{_WHERE} must be a list of at most {_MOST} objects")
    found: dict[str, Mapping[str, Any]] = {}
    for index, condition in enumerate(given):
        where = f"{_WHERE}[{index}]"
        texts = [condition.get(key) or "" for key in ("type", "status", "reason", "message")]
        if not all(isinstance(text, str) for text in texts):
            raise bad_request(f"type, status, reason and message of {where} must be strings")
        kind, standing = texts[:2]
        if not kind:
            raise invalid(target, Cause("FieldValueRequired", "Required value", f"{where}.type"))
        if standing != "True":
            message = f'Unsupported value: "{standing[:80]}": supported values: "True"'
            raise invalid(target, Cause("FieldValueNotSupported", message, f"{where}.status"))
        if kind in found:
            message = f'Duplicate value: "{kind[:80]}"'
            raise invalid(target, Cause("FieldValueDuplicate", message, f"{where}.type"))
        found[kind] = condition
    return found


def _status(document: Mapping[str, Any]) -> Mapping[str, Any]:
    status = document.get("status") or {}
    if not isinstance(status, dict):
        raise bad_request("status must be an object")
    return status
