"""Who manages which field, as structured-merge-diff has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trivet.pki.errors import InvalidError
from trivet.pki.managed_fields import read_shares, render_shares
from trivet.pki.ownership import (
    APPLY,
    UPDATE,
    FieldConflictError,
    Manager,
    Share,
    applied,
    content_of,
    updated,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
JANE, JOE = Manager("jane", UPDATE, "g/v1"), Manager("joe", UPDATE, "g/v1")
ANN, BOB = Manager("ann", APPLY, "g/v1"), Manager("bob", APPLY, "g/v1")


def content(description: str | None = None, **labels: str) -> dict[str, Any]:
    spec = {"revocations": [1]} | ({"description": description} if description else {})
    return content_of({"metadata": {"labels": labels, "name": "x", "uid": "y"}, "spec": spec})


def fields(shares: tuple[Share, ...], manager: Manager) -> set[str]:
    return {".".join(path) for share in shares if share.manager == manager for path in share.fields}


def test_who_creates_an_object_manages_all_that_it_says_and_nothing_that_the_server_sets() -> None:
    shares = updated((), {}, content("d", a="1"), JANE, NOW)
    assert fields(shares, JANE) == {
        "metadata.labels",
        "metadata.labels.a",
        "spec",
        "spec.description",
        "spec.revocations",
    }


def test_who_changes_a_field_takes_it_from_its_manager() -> None:
    shares = updated((), {}, content("d", a="1"), JANE, NOW)
    shares = updated(shares, content("d", a="1"), content("e", a="1"), JOE, LATER)
    assert fields(shares, JOE) == {"spec.description"}
    assert "spec.description" not in fields(shares, JANE)
    assert [share.since for share in shares] == [NOW, LATER]


def test_a_field_that_is_removed_has_no_manager() -> None:
    shares = updated((), {}, content("d", a="1"), JANE, NOW)
    shares = updated(shares, content("d", a="1"), content(), JOE, LATER)
    assert fields(shares, JANE) == {"spec", "spec.revocations"}
    assert fields(shares, JOE) == set()


def test_an_update_that_changes_nothing_changes_no_time() -> None:
    shares = updated((), {}, content("d"), JANE, NOW)
    assert updated(shares, content("d"), content("d"), JANE, LATER) == shares


def test_apply_refuses_to_change_what_another_manages() -> None:
    shares = updated((), {}, content("d", a="1"), JANE, NOW)
    with pytest.raises(FieldConflictError) as refused:
        applied(shares, content("d", a="1"), content("e", a="2"), ANN, LATER, force=False)
    assert {path for _, path in refused.value.owners} == {
        ("metadata", "labels", "a"),
        ("spec", "description"),
    }
    assert refused.value.detail.startswith(
        'Apply failed with 2 conflicts: conflicts with "jane" using g/v1:\n- .'
    )


def test_one_conflict_is_worded_on_one_line() -> None:
    shares = updated((), {}, content("d"), JANE, NOW)
    with pytest.raises(
        FieldConflictError, match=r'with 1 conflict: conflict with "jane" using g/v1: \.spec\.desc'
    ):
        applied(shares, content("d"), content("e"), ANN, LATER, force=False)


def test_apply_with_force_takes_the_field() -> None:
    shares = updated((), {}, content("d"), JANE, NOW)
    merged, shares = applied(shares, content("d"), content("e"), ANN, LATER, force=True)
    assert merged == content("e")
    assert fields(shares, ANN) == {"spec.description", "spec.revocations"}
    assert fields(shares, JANE) == {"spec", "spec.revocations"}


def test_who_applies_the_same_value_shares_the_field() -> None:
    shares = updated((), {}, content("d"), JANE, NOW)
    merged, shares = applied(shares, content("d"), content("d"), ANN, LATER, force=False)
    assert merged == content("d")
    assert "spec.description" in fields(shares, JANE) & fields(shares, ANN)


def test_what_is_applied_no_longer_goes_unless_another_manages_it() -> None:
    merged, shares = applied((), {}, content("d", a="1", b="2"), ANN, NOW, force=False)
    _, shares = applied(shares, merged, content("d", b="2"), BOB, NOW, force=False)
    merged, shares = applied(shares, merged, content(), ANN, LATER, force=False)
    assert merged == content("d", b="2")
    assert fields(shares, ANN) == {"spec.revocations"}


def test_what_is_applied_again_keeps_its_time() -> None:
    merged, shares = applied((), {}, content("d"), ANN, NOW, force=False)
    assert applied(shares, merged, content("d"), ANN, LATER, force=False) == (merged, shares)


def test_apply_does_not_change_what_stands() -> None:
    live = content("d", a="1", b="2")
    _, shares = applied((), {}, live, ANN, NOW, force=False)
    applied(shares, live, content(), ANN, LATER, force=False)
    assert live == content("d", a="1", b="2")


def test_many_updaters_become_ancient_changes() -> None:
    shares: tuple[Share, ...] = ()
    for number in range(14):
        manager = Manager(f"m{number:02}", UPDATE, "g/v1")
        before, after = (
            content(**{f"l{n}": "x" for n in range(number)}),
            content(**{f"l{n}": "x" for n in range(number + 1)}),
        )
        shares = updated(shares, before, after, manager, NOW + timedelta(seconds=number))
    assert len(shares) <= 11
    held = [path for share in shares for path in share.fields if path[:2] == ("metadata", "labels")]
    assert {path[2] for path in held if len(path) == 3} == {f"l{n}" for n in range(14)}
    assert "ancient-changes" in {share.manager.name for share in shares}


def test_managed_fields_are_read_as_they_are_written() -> None:
    shares = updated((), {}, content("d", a="1"), JANE, NOW)
    _, shares = applied(shares, content("d", a="1"), content("d"), ANN, LATER, force=True)
    written = render_shares(shares)
    assert read_shares(written) == shares
    assert written[1]["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {".": {}, "f:description": {}, "f:revocations": {}},
    }
    assert [entry["operation"] for entry in written] == ["Apply", "Update"]


@pytest.mark.parametrize(
    "written",
    [
        "text",
        [1],
        [{}],
        [{"operation": "Steal"}],
        [{"operation": "Update", "manager": 1}],
        [{"operation": "Update", "manager": "m" * 129}],
        [{"operation": "Update", "time": "yesterday"}],
        [{"operation": "Update", "fieldsV1": {"x": {}}}],
        [{"operation": "Update", "fieldsV1": {"f:a": 1}}],
        [{"operation": "Update", "fieldsV1": []} | {"fieldsV1": [1]}],
    ],
)
def test_what_no_server_wrote_is_refused(written: object) -> None:
    with pytest.raises(InvalidError):
        read_shares(written)
