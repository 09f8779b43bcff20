"""What nobody should send: answered or refused, quickly, and never with a defect."""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any

import pytest
from tests.unit.web.kubernetes.test_api import BLUE, EVERYWHERE, RESOURCE, Api, manifest
from tests.unit.web.kubernetes.test_protobuf import field, unknown
from tests.unit.web.service import Service

from trivet.web.kubernetes.patches import json_patch, merge_patch
from trivet.web.kubernetes.selectors import field_selector, label_selector
from trivet.web.kubernetes.status import StatusError

TIMES = int(os.environ.get("TRIVET_FUZZ_TIMES", "1"))
SEED = int(os.environ.get("TRIVET_FUZZ_SEED", "7"))
VALUES: list[Any] = [
    *(None, True, 0, -1, 2**70, 1.5, "", "x", "\x00", "\ud800", "/" * 99),
    *([], {}, [{}], {"a": None}, [[[]]]),
]
PATHS = [
    "",
    "/",
    "/metadata",
    "/metadata/name",
    "/spec/revocations/0",
    "/spec/revocations/-",
    "/~0",
    "/~",
    "/spec/x/y",
]
PARAMETERS = [
    *(
        "limit",
        "continue",
        "labelSelector",
        "fieldSelector",
        "dryRun",
        "fieldValidation",
        "fieldManager",
        "force",
    ),
    *("resourceVersion", "resourceVersionMatch", "includeObject", "propagationPolicy"),
]
GIVEN = ["", "0", "1", "All", "Strict", "x", "9" * 21, "%00", "%ff", "WzEsImEiLCJiIl0", "a=b", "true"]
PLACES = [
    *(
        RESOURCE,
        EVERYWHERE,
        f"{RESOURCE}/one",
        f"{RESOURCE}/two",
        f"{RESOURCE}/%00",
        f"{BLUE}/api",
        f"{BLUE}/apis",
    ),
    *(
        f"{BLUE}/openapi/v3",
        f"{BLUE}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        f"{BLUE}/a//b%0a",
    ),
]
OPERATIONS = ["add", "remove", "replace", "move", "copy", "test", "steal", None]
SELECTORS = ["a", "=", "!", ",", "(", ")", " in ", " notin ", "b", ">", "9", "/", "-", ".", "ä", "\x00", "=="]


def damaged(random: Random, value: Any) -> Any:  # noqa: ANN401
    """Put something else in one place of a JSON value."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        if random.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: damaged(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.8:
        index = random.randrange(len(value))
        return [damaged(random, item) if place == index else item for place, item in enumerate(value)]
    return random.choice(VALUES)


def operation(random: Random) -> dict[str, Any]:
    made = {"op": random.choice(OPERATIONS), "path": random.choice(PATHS), "value": random.choice(VALUES)}
    return made | {"from": random.choice(PATHS)} if random.random() < 0.5 else made


def test_patches_are_applied_or_refused() -> None:
    random = Random(SEED)  # noqa: S311
    document = manifest()
    for _ in range(4_000 * TIMES):
        merge_patch(document, damaged(random, document))
        try:
            json_patch(document, [operation(random) for _ in range(random.randrange(5))])
        except StatusError:
            continue
    assert document == manifest()


def test_selectors_are_read_or_refused() -> None:
    random = Random(SEED)  # noqa: S311
    for _ in range(4_000 * TIMES):
        text = "".join(random.choice(SELECTORS) for _ in range(random.randrange(12)))
        for read in (label_selector, lambda text: field_selector(text, ("a",))):
            try:
                for requirement in read(text):
                    requirement({"a": "b"})
            except StatusError:
                continue


@pytest.mark.timeout(900)
def test_the_api_answers_or_refuses(service: Service) -> None:
    random, api = Random(SEED), Api(service)  # noqa: S311
    made = api.make()
    options = unknown("v1", "DeleteOptions", field(1, 0) + field(5, "All"))
    for _ in range(400 * TIMES):
        method, path, headers, content = _request(random, made, options)
        answer = service.client.request(method, path, headers=api.admin | headers, content=content)
        assert answer.status_code < 500 or answer.status_code == 504, (
            method,
            path,
            headers,
            content,
            answer.text,
        )


def _request(random: Random, made: dict[str, Any], options: bytes) -> tuple[str, str, dict[str, str], bytes]:
    kind = random.choice(
        [
            "json",
            "merge-patch+json",
            "json-patch+json",
            "apply-patch+yaml",
            "yaml",
            "vnd.kubernetes.protobuf",
            "x",
        ]
    )
    body: Any = damaged(random, made if random.random() < 0.5 else manifest(random.choice(["one", "two"])))
    if kind == "json-patch+json":
        body = [operation(random) for _ in range(random.randrange(4))]
    content = json.dumps(body).encode()
    if kind == "vnd.kubernetes.protobuf" or random.random() < 0.1:
        octets = bytearray(options if random.random() < 0.5 else content)
        octets[random.randrange(len(octets))] = random.randrange(256)
        content = bytes(octets)
    names = random.sample(PARAMETERS, random.randrange(4))
    query = "&".join(f"{name}={random.choice(GIVEN)}" for name in names)
    path = random.choice(PLACES)
    accept = random.choice(
        ["*/*", "application/json;as=Table;v=v1;g=meta.k8s.io", "text/html", ";;=,", "a;b=c;q=x"]
    )
    headers = {"Content-Type": f"application/{kind}", "Accept": accept}
    return (
        random.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        f"{path}?{query}",
        headers,
        content,
    )
