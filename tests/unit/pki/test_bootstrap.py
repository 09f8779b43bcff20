from __future__ import annotations

import pytest

from trivet.pki.bootstrap import BootstrapToken, check_groups, parse_bootstrap_token
from trivet.pki.errors import InvalidError

TOKEN = "abcdef.0123456789abcdef"


def test_a_token_in_kubernetes_format_is_read() -> None:
    assert parse_bootstrap_token(TOKEN) == BootstrapToken("abcdef", "0123456789abcdef")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abcdef",
        "abcdef:0123456789abcdef",
        "ABCDEF.0123456789abcdef",
        "abcde.0123456789abcdef",
        "abcdef.0123456789abcde",
        "abcdef.0123456789abcdeff",
        TOKEN + "\n",
        " " + TOKEN,
        "abcde\u0663.0123456789abcdef",
        "trivet_abcdef.0123456789abcdef",
    ],
)
def test_any_other_form_is_no_token(text: str) -> None:
    assert parse_bootstrap_token(text) is None


def test_a_token_shows_its_id_and_never_its_secret() -> None:
    shown = repr(parse_bootstrap_token(TOKEN))
    assert "abcdef" in shown
    assert "0123456789" not in shown


def test_groups_of_bootstrappers_are_accepted_once_each() -> None:
    groups = ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"]
    assert check_groups([*groups, groups[0]]) == tuple(groups)


@pytest.mark.parametrize(
    "group",
    [
        "",
        "system:nodes",
        "system:masters",
        "system:bootstrappersx",
        "system:bootstrappers:",
        "system:bootstrappers:a-",
        "system:bootstrappers:A",
        "system:bootstrappers:a\n",
        "x:system:bootstrappers:a",
    ],
)
def test_no_other_group_is_given_to_a_token(group: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_groups(["system:bootstrappers", group])
    assert [fault.pointer for fault in caught.value.faults] == ["/groups/1"]


def test_more_groups_than_anybody_needs_are_refused() -> None:
    with pytest.raises(InvalidError, match="at most 16"):
        check_groups([f"system:bootstrappers:g{number}" for number in range(17)])
