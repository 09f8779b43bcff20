from __future__ import annotations

from typing import Any

import pytest

from trivet.web.kubernetes.patches import json_patch, merge_patch, strategic_merge_patch
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
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 28
    with pytest.raises(StatusError) as refused:
        json_patch({"a": [1, 2, 3]}, doubling)
    assert refused.value.code == 413


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


DEEP = nested(28)  # with the document around it 29 levels, which are allowed


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "path": "/x" + "/a" * 27 * step, "value": DEEP} for step in range(40)],
        [{"op": "add", "path": "/x", "value": DEEP}, {"op": "copy", "from": "/x", "path": "/x/a/a/a/a/b"}],
        [
            {"op": "add", "path": "/x", "value": DEEP},
            {"op": "add", "path": "/y", "value": DEEP},
            {"op": "move", "from": "/y", "path": "/x/a/a/a/a/b"},
        ],
        [{"op": "copy", "from": "", "path": "/a/x"}] * 40,
        [{"op": "add", "path": "/x", "value": DEEP}, {"op": "replace", "path": "/x/a/a/a/a", "value": DEEP}],
        [{"op": "add", "path": "", "value": nested(33)}],
    ],
    ids=["add", "copy", "move", "copy of all", "replace", "whole"],
)
def test_a_patch_nests_no_deeper_than_a_body_may(operations: list[dict[str, Any]]) -> None:
    with pytest.raises(StatusError) as refused:
        json_patch(DOCUMENT, operations)
    assert refused.value.code == 422
    assert "more than 32 deep" in refused.value.message


def test_what_is_as_deep_as_a_body_may_be_is_patched_in() -> None:
    assert json_patch({}, [{"op": "add", "path": "", "value": nested(32)}]) == nested(32)
    assert json_patch({}, [{"op": "add", "path": "/a", "value": nested(31)}]) == nested(32)


def test_a_patch_moves_no_more_than_it_may_copy() -> None:
    much = [{"op": "add", "path": "/m", "value": [0] * 100_000}]
    with pytest.raises(StatusError) as refused:
        json_patch(DOCUMENT, [*much, *[{"op": "move", "from": "/m", "path": "/m"}] * 20])
    assert refused.value.code == 413


@pytest.mark.parametrize("directive", [[], {}, None, 1])
def test_a_directive_that_is_no_text_is_refused(directive: object) -> None:
    with pytest.raises(StatusError) as refused:
        strategic_merge_patch({}, {"$patch": directive})
    assert refused.value.code == 400
    with pytest.raises(StatusError) as refused:
        json_patch({}, [{"op": directive, "path": ""}])
    assert refused.value.code == 400


def test_only_the_keys_to_retain_are_retained() -> None:
    patch = {"a": 1, "b": 2, "$retainKeys": ["a", ["b"], "$retainKeys", 1]}
    assert strategic_merge_patch({"c": 3}, patch) == {"a": 1}
