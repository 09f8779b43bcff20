from __future__ import annotations

from typing import Any

import pytest

from trivet.web.kubernetes.patches import json_patch, merge_patch
from trivet.web.kubernetes.status import StatusError

DOCUMENT: dict[str, Any] = {"a": {"b": [1, 2, 3]}, "c~/d": "x"}

# RFC 7396 appendix A
MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), MERGES)
def test_a_merge_patch_does_what_its_rfc_shows(target: object, patch: object, expected: object) -> None:
    assert merge_patch(target, patch) == expected


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/b/1", "value": 9}, {"a": {"b": [1, 9, 2, 3]}, "c~/d": "x"}),
        ({"op": "add", "path": "/a/b/-", "value": 9}, {"a": {"b": [1, 2, 3, 9]}, "c~/d": "x"}),
        ({"op": "add", "path": "/e", "value": None}, DOCUMENT | {"e": None}),
        ({"op": "add", "path": "", "value": 1}, 1),
        ({"op": "remove", "path": "/c~0~1d"}, {"a": {"b": [1, 2, 3]}}),
        ({"op": "remove", "path": "/a/b/0"}, {"a": {"b": [2, 3]}, "c~/d": "x"}),
        ({"op": "replace", "path": "/a", "value": 1}, {"a": 1, "c~/d": "x"}),
        ({"op": "move", "from": "/a/b", "path": "/m"}, {"a": {}, "c~/d": "x", "m": [1, 2, 3]}),
        ({"op": "copy", "from": "/a", "path": "/m"}, DOCUMENT | {"m": {"b": [1, 2, 3]}}),
        ({"op": "test", "path": "/a/b/2", "value": 3}, DOCUMENT),
    ],
)
def test_a_json_patch_does_what_its_rfc_says(operation: dict[str, Any], expected: object) -> None:
    assert json_patch(DOCUMENT, [operation]) == expected
    assert DOCUMENT == {"a": {"b": [1, 2, 3]}, "c~/d": "x"}, "the target was changed"


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({}, 400),
        ([1], 400),
        ([{"op": "steal", "path": ""}], 400),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([{"op": "add", "path": "/~2", "value": 1}], 400),
        ([{"op": "add", "path": "/a"}], 400),
        ([{"op": "test", "path": "/a/b/0", "value": True}], 422),
        ([{"op": "test", "path": "/a", "value": {}}], 422),
        ([{"op": "remove", "path": "/nothing"}], 422),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "remove", "path": "/a/b/-"}], 422),
        ([{"op": "remove", "path": "/a/b/01"}], 422),
        ([{"op": "replace", "path": "/nothing", "value": 1}], 422),
        ([{"op": "add", "path": "/a/b/9", "value": 1}], 422),
        ([{"op": "add", "path": "/c~0~1d/x", "value": 1}], 422),
        ([{"op": "move", "from": "/a", "path": "/a/b"}], 422),
        ([{"op": "test", "path": "", "value": 1}] * 10_001, 413),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(operations: object, code: int) -> None:
    with pytest.raises(StatusError) as refused:
        json_patch(DOCUMENT, operations)
    assert refused.value.code == code


def test_a_patch_cannot_double_itself_without_end() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/b/-"}] * 40
    with pytest.raises(StatusError) as refused:
        json_patch(DOCUMENT, doubling)
    assert refused.value.code == 413
