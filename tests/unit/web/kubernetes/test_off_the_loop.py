"""What takes long to read is read off the event loop, so that everybody else is answered meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.unit.web.kubernetes.test_api import APPLY, BLUE, MERGE, PROTOBUF, RESOURCE, Api, manifest
from tests.unit.web.kubernetes.test_protobuf import unknown
from tests.unit.web.service import JSON, YAML, Service

from trivet.web.kubernetes import bodies, changing

REVIEWS = f"{BLUE}/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = b"apiVersion: authentication.k8s.io/v1\nkind: SelfSubjectReview\n"
PATCH = {"Content-Type": "application/json-patch+json"}


@pytest.fixture
def api(service: Service) -> Api:
    return Api(service)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, bool]]:
    """What read something, and whether in a thread of the pool."""
    seen: set[tuple[str, bool]] = set()

    def noting(name: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:  # noqa: ANN401
            seen.add((name, threading.current_thread().name.startswith("use-case")))
            return read(*args)

        return noted

    for module, name in (
        (bodies, "read_json"),
        (bodies, "read_yaml"),
        (bodies, "read_unknown"),
        (changing, "read_json"),
        (changing, "read_yaml"),
    ):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    for kind, patch in changing._PATCHES.items():
        monkeypatch.setitem(changing._PATCHES, kind, noting("patch", patch))
    return seen


def test_bodies_are_read_off_the_event_loop(api: Api, readers: set[tuple[str, bool]]) -> None:
    api.make()
    api.ask("POST", REVIEWS, 201, headers=YAML, content=REVIEW)
    api.ask("POST", REVIEWS, 201, headers=PROTOBUF, content=unknown("v1", "SelfSubjectReview", b""))
    api.ask("POST", REVIEWS, 201, headers=JSON, content=b"{}")
    api.ask("DELETE", f"{RESOURCE}/two", 404, headers=PROTOBUF, content=unknown("v1", "DeleteOptions", b""))
    assert readers == {("read_json", True), ("read_yaml", True), ("read_unknown", True)}


def test_patches_are_read_and_applied_off_the_event_loop(api: Api, readers: set[tuple[str, bool]]) -> None:
    api.make()
    labels = {"metadata": {"labels": {"a": "b"}}}
    api.ask("PATCH", f"{RESOURCE}/one", 200, headers=MERGE, json=labels)
    operation = {"op": "add", "path": "/metadata/labels/c", "value": "d"}
    api.ask("PATCH", f"{RESOURCE}/one", 200, headers=PATCH, json=[operation])
    applied = yaml.safe_dump(manifest("two")).encode()
    api.ask("PATCH", f"{RESOURCE}/two?fieldManager=me", 201, headers=APPLY, content=applied)
    assert readers == {("read_json", True), ("read_yaml", True), ("patch", True)}


def test_a_yaml_body_is_as_long_as_in_rest_and_no_longer(api: Api) -> None:
    padded = REVIEW + b"#" * (256 * 1024 - len(REVIEW))
    api.ask("POST", REVIEWS, 201, headers=YAML, content=padded)
    api.ask("POST", REVIEWS, 413, headers=YAML, content=padded + b"#")
    api.ask("PATCH", f"{RESOURCE}/two?fieldManager=me", 413, headers=APPLY, content=padded + b"#")


DEEP: Any = 1
for _ in range(28):
    DEEP = {"a": DEEP}
BOMB = [
    *[{"op": "add", "path": "/spec/x" + "/a" * 28 * step, "value": DEEP} for step in range(40)],
    {"op": "copy", "from": "/spec/x", "path": "/spec/y"},
]


def test_a_patch_that_nests_without_end_is_refused(api: Api) -> None:
    api.make()
    assert len(json.dumps(BOMB)) < 64 * 1024
    told = api.ask("PATCH", f"{RESOURCE}/one", 422, headers=PATCH, json=BOMB).json()["message"]
    assert "it would nest more than 32 deep" in told


@pytest.mark.parametrize("kind", ["json-patch+json", "merge-patch+json", "apply-patch+yaml"])
@pytest.mark.parametrize("depth", [40, 900, 20_000])
def test_a_deep_patch_of_any_kind_is_refused(api: Api, kind: str, depth: int) -> None:
    api.make()
    body = b'{"spec": ' * depth + b"1" + b"}" * depth
    headers, path = {"Content-Type": f"application/{kind}"}, f"{RESOURCE}/one?fieldManager=me"
    api.ask("PATCH", path, 400, headers=headers, content=body)
    flow = b"spec: " + b"[" * min(depth, 900) + b"]" * min(depth, 900)
    if kind == "apply-patch+yaml":
        api.ask("PATCH", path, 400, headers=headers, content=flow)


@pytest.mark.parametrize("operation", [[], {}, None])
def test_managed_fields_with_an_operation_that_is_no_text_are_refused(api: Api, operation: object) -> None:
    document = manifest()
    document["metadata"]["managedFields"] = [{"operation": operation, "manager": "m", "fieldsV1": {}}]
    api.ask("POST", RESOURCE, 422, json=document)
