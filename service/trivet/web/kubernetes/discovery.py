"""Which groups, versions and resources there are, in the aggregated form and in the plain ones."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from trivet import __version__
from trivet.web.kubernetes.media import accept_of, require_json
from trivet.web.kubernetes.resources import ALL, Resource
from trivet.web.kubernetes.status import encode, json_response, no_such_resource

if TYPE_CHECKING:
    from starlette.requests import Request

_AGGREGATED: Final = "apidiscovery.k8s.io"
_VERSIONS: Final = ("v2", "v2beta1")
_MINOR: Final = "31"  # of the Kubernetes whose API this is


def aggregated_or(request: Request, place: str) -> Response:
    """The answer to `/api` or `/apis`: aggregated for who takes it, else plain."""
    for wanted in accept_of(request):
        parameters = wanted.parameters
        version = parameters.get("v", "")
        if parameters.get("g") == _AGGREGATED and version in _VERSIONS:
            return _unchanged_or(request, _aggregated(place, version), version)
        if wanted.media_type == "application/json" and "as" not in parameters:
            break
    require_json(request)
    return json_response(_api_versions() if place == "api" else _api_group_list(), headers={"Vary": "Accept"})


def _unchanged_or(request: Request, body: bytes, version: str) -> Response:
    tag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, headers)
    media_type = f"application/json;g={_AGGREGATED};v={version};as=APIGroupDiscoveryList"
    return Response(body, 200, headers, media_type)


@cache
def _aggregated(place: str, version: str) -> bytes:
    groups = [""] if place == "api" else list(dict.fromkeys(item.group for item in ALL if item.group))
    items = [_group(group) for group in groups]
    return encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"{_AGGREGATED}/{version}",
            "metadata": {},
            "items": items,
        }
    )


def _group(group: str) -> dict[str, Any]:
    found = [resource for resource in ALL if resource.group == group]
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {
                "version": found[0].version,
                "freshness": "Current",
                "resources": [_discovered(resource) for resource in found],
            }
        ],
    }


def _discovered(resource: Resource) -> dict[str, Any]:
    told: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    told |= {"shortNames": list(resource.short_names)} if resource.short_names else {}
    parts = [
        {"subresource": name, "responseKind": told["responseKind"], "verbs": list(verbs)}
        for name, verbs in resource.subresources.items()
    ]
    return told | ({"subresources": parts} if parts else {})


def _api_versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _api_group_list() -> dict[str, Any]:
    groups = dict.fromkeys(resource.group for resource in ALL if resource.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_versions_of(group) for group in groups]}


def _versions_of(group: str) -> dict[str, Any]:
    version = next(resource.version for resource in ALL if resource.group == group)
    preferred = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [preferred], "preferredVersion": preferred}


def group_answer(request: Request, group: str) -> Response | None:
    """The answer to `/apis/GROUP`; None for what there is not."""
    require_json(request)
    known = any(resource.group == group for resource in ALL if group)
    return json_response({"kind": "APIGroup", "apiVersion": "v1", **_versions_of(group)}) if known else None


def resources_answer(request: Request, group: str, version: str) -> Response:
    """The answer to `/api/v1` and `/apis/GROUP/VERSION`.

    Raises:
        StatusError: there is no such version.
    """
    require_json(request)
    found = [resource for resource in ALL if (resource.group, resource.version) == (group, version)]
    if not found:
        raise no_such_resource()
    return json_response(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": found[0].api_version,
            "resources": [listed for resource in found for listed in _listed(resource)],
        }
    )


def _listed(resource: Resource) -> list[dict[str, Any]]:
    told: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    parts = [
        told | {"name": f"{resource.plural}/{name}", "singularName": "", "verbs": list(verbs)}
        for name, verbs in resource.subresources.items()
    ]
    return [told | ({"shortNames": list(resource.short_names)} if resource.short_names else {}), *parts]


def version_answer() -> Response:
    """The answer to `/version`: of the Kubernetes whose API this is, and of Trivet."""
    return json_response(
        {
            "major": "1",
            "minor": _MINOR,
            "gitVersion": f"v1.{_MINOR}.0+trivet-{__version__}",
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": platform.python_implementation().lower(),
            "platform": f"{platform.system().lower()}/{platform.machine()}",
        }
    )
