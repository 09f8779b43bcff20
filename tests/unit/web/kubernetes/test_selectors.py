from __future__ import annotations

import pytest

from trivet.web.kubernetes.selectors import field_selector, label_selector, selects
from trivet.web.kubernetes.status import StatusError

LABELS = {"team": "blue", "example.org/rank": "7", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("team=blue", True),
        ("team==blue", True),
        ("team=red", False),
        ("team!=red", True),
        ("other!=red", True),
        ("team in (red, blue)", True),
        ("team in (red)", False),
        ("team notin (red)", True),
        ("team notin (blue,red)", False),
        ("other notin (red)", True),
        ("team", True),
        ("!team", False),
        ("!other", True),
        ("empty=", True),
        ("empty in ()", True),
        ("example.org/rank>6", True),
        ("example.org/rank < 7", False),
        ("team>1", False),
        ("team=blue,example.org/rank=7", True),
        ("team=blue,!example.org/rank", False),
        (" team = blue , other notin (a,b) ", True),
    ],
)
def test_a_label_selector_selects_as_kubernetes_has_it(selector: str, expected: bool) -> None:  # noqa: FBT001
    assert selects(label_selector(selector), LABELS) is expected


@pytest.mark.parametrize(
    "selector",
    [
        "=",
        "a=b=c",
        "a in b",
        "a in (b",
        "a,,b",
        "-a",
        "a-",
        "a/b/c",
        "x" * 64,
        "a>b",
        "a = b c",
        "a," * 200,
        "ä",
    ],
)
def test_what_is_no_label_selector_is_refused(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        label_selector(selector)
    assert refused.value.code == 400


def test_a_field_selector_compares_the_fields_that_are_supported() -> None:
    fields = {"metadata.name": "x", "metadata.namespace": "n"}
    supported = tuple(fields)
    assert selects(field_selector("metadata.name=x,metadata.namespace!=m", supported), fields)
    assert not selects(field_selector("metadata.name!=x", supported), fields)
    for wrong in ("spec.x=1", "metadata.name"):
        with pytest.raises(StatusError) as refused:
            field_selector(wrong, supported)
        assert refused.value.code == 400


def test_a_field_selector_is_read_whole_or_refused() -> None:
    one = "metadata.name=x"
    assert len(field_selector(",".join([one] * 100), ("metadata.name",))) == 100
    with pytest.raises(StatusError) as refused:
        field_selector(",".join([one] * 101), ("metadata.name",))
    assert refused.value.code == 400


@pytest.mark.parametrize("kind", ["label", "field"])
def test_a_selector_is_as_long_as_is_told_and_no_longer(kind: str) -> None:
    read = label_selector if kind == "label" else lambda text: field_selector(text, ("x",))
    assert len(read("x=" + "a" * 40 + "," + "x=" + "b" * 40)) == 2
    longest = ",".join(["x=" + "a" * 60] * 32)
    assert len(longest) <= 2048
    assert len(read(longest)) == 32
    with pytest.raises(StatusError) as refused:
        read(longest + "," + "x=" + "a" * 100)
    assert (
        refused.value.message
        == f"a {kind} selector has at most 2048 characters, this one {len(longest) + 103}"
    )


@pytest.mark.parametrize("selector", ["a in (b, c),d", " a in ( b ,c ) , ! d "])
def test_commas_in_parentheses_do_not_part_requirements(selector: str) -> None:
    requirements = label_selector(selector)
    assert len(requirements) == 2
    assert selects(requirements, {"a": "c", "d": "x"}) is (" ! d" not in selector)


@pytest.mark.parametrize("selector", ["a in ((b)", "a in (b))", "a,b)", "a in (b,c", ")a,b(", "a,"])
def test_parentheses_that_do_not_match_are_refused(selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        label_selector(selector)
    assert refused.value.code == 400
