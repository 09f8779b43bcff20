"""What somebody may ask about themselves: who they are, and what they may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trivet.authority.access import require_permission
from trivet.pki.errors import AccessDeniedError
from trivet.web.kubernetes.bodies import read_body
from trivet.web.kubernetes.resources import ALL, SIGNER, Resource
from trivet.web.kubernetes.status import bad_request, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starlette.responses import Response

    from trivet.authority.access import Permission
    from trivet.web.kubernetes.call import Call

PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_KNOWN_PATHS: Final = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *PUBLIC_PATHS)
_SHOWN: Final = 253


async def self_subject_review(call: Call) -> Response:
    """`kubectl auth whoami`."""
    await _read(call)
    return _answer(call, {}, {"userInfo": call.user.shown()})


async def self_subject_access_review(call: Call) -> Response:
    """`kubectl auth can-i VERB RESOURCE`."""
    spec = await _read(call)
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) and path is None:
        allowed, reason = _may(call, resource)
    elif isinstance(path, dict) and resource is None:
        asked = str(path.get("path", ""))
        allowed = any(asked == known or _is_below(asked, known) for known in _KNOWN_PATHS)
        reason = "" if allowed else "there is nothing at this path"
    else:
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    status = {"allowed": allowed} | ({"reason": reason} if reason else {})
    return _answer(call, spec, status)


async def self_subject_rules_review(call: Call) -> Response:
    """`kubectl auth can-i --list`."""
    spec = await _read(call)
    rules = [
        {"verbs": verbs, "apiGroups": [resource.group], "resources": [name]} | _named(call, resource)
        for resource, name, known in _parts()
        if (verbs := [verb for verb, needed in known.items() if _has(call, needed)])
    ]
    status = {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": list(_KNOWN_PATHS)}],
        "incomplete": False,
    }
    return _answer(call, spec, status)


def _named(call: Call, resource: Resource) -> dict[str, Any]:
    own = call.caller.requester.signer_names
    return {"resourceNames": list(own)} if own and resource is SIGNER else {}


async def _read(call: Call) -> dict[str, Any]:
    call.require()
    document = (await read_body(call, call.resource.kind)).value
    if not isinstance(document, dict) or not isinstance(document.get("spec") or {}, dict):
        raise bad_request(f"the body must be a {call.resource.kind}")
    spec: dict[str, Any] = document.get("spec") or {}
    return spec


def _answer(call: Call, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Response:
    resource = call.resource
    body = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"creationTimestamp": None},
        "status": dict(status),
    }
    return json_response(body | ({"spec": dict(spec)} if spec else {}), 201)


def _may(call: Call, asked: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether every resource that is meant has every verb that is meant, and the requester what those take."""
    keys = ("group", "resource", "subresource", "verb")
    group, plural, subresource, verb = (str(asked.get(key) or "")[:_SHOWN] for key in keys)
    wanted = f"{plural}/{subresource}" if subresource else plural
    meant = [
        verbs
        for resource, name, verbs in _parts()
        if group in {resource.group, "*"} and (wanted == name or (plural == "*" and not subresource))
    ]
    if not meant:
        return False, f"there is no resource {wanted!r} in the group {group!r}"
    if all(_may_each(call, verbs, verb) for verbs in meant):
        return _may_decide(call, meant, str(asked.get("name") or ""))
    return False, f"the role {call.caller.requester.role} does not have this permission"


def _may_decide(call: Call, meant: Sequence[object], signer: str) -> tuple[bool, str]:
    """Whether the right to approve for a signer is meant, and of that signer."""
    own = call.caller.requester.signer_names
    if own and SIGNER.verbs in meant and signer not in own:
        return False, f"this token decides requests for {', '.join(own)} only"
    return True, ""


def _parts() -> Iterator[tuple[Resource, str, Mapping[str, Permission | None]]]:
    """Every resource and subresource, with its name in rules and its verbs."""
    for resource in ALL:
        yield resource, resource.plural, resource.verbs
        for subresource, verbs in resource.subresources.items():
            yield resource, f"{resource.plural}/{subresource}", verbs
    yield SIGNER, SIGNER.plural, SIGNER.verbs


def _may_each(call: Call, known: Mapping[str, Permission | None], verb: str) -> bool:
    verbs = list(known) if verb == "*" else [verb]
    return all(one in known and _has(call, known[one]) for one in verbs)


def _has(call: Call, needed: Permission | None) -> bool:
    try:
        if needed is not None:
            require_permission(call.caller.requester, needed)
    except AccessDeniedError:
        return False
    return True


def _is_below(path: str, pattern: str) -> bool:
    return pattern.endswith("*") and path.startswith(pattern[:-1])
