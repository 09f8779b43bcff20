from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.unit.signer.conftest import SIGNER_NAMES

from trivet.signer.judging import Unfit, Wish, is_open, judge

KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
USAGES = ["digital signature", "client auth"]


def request(*conditions: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
    spec = {"request": base64.b64encode(b"a CSR").decode(), "signerName": KUBELET, "usages": USAGES}
    told = [
        {"type": kind.rstrip("-"), "status": "False" if kind.endswith("-") else "True"} for kind in conditions
    ]
    return {
        "metadata": {"name": "csr-1", "uid": "7d0e", **parts.pop("metadata", {})},
        "spec": spec | parts.pop("spec", {}),
        "status": {"conditions": told, **parts.pop("status", {})},
    }


def test_an_approved_request_is_a_wish() -> None:
    wish = judge(request("Approved", spec={"expirationSeconds": 3600}), SIGNER_NAMES)
    assert wish == Wish(SIGNER_NAMES[KUBELET], b"a CSR", 3600, "7d0e")


@pytest.mark.parametrize(
    "found",
    [
        request(),
        request("Approved-"),
        request("Denied"),
        request("Denied-", "Approved"),
        request("Approved", "Denied"),
        request("Approved", "Failed"),
        request("Approved", status={"certificate": "LS0t"}),
        request("Approved", metadata={"deletionTimestamp": "2026-11-24T12:00:00Z"}),
        request("Approved", spec={"signerName": "kubernetes.io/legacy-unknown"}),
        {"metadata": {"name": "csr-1"}, "spec": {"signerName": KUBELET}},
        {"metadata": {"name": "csr-1"}},
        {"metadata": {"name": "csr-1"}, "spec": {"signerName": KUBELET}, "status": {"conditions": None}},
    ],
)
def test_nothing_is_done_about_any_other(found: dict[str, Any]) -> None:
    assert judge(found, SIGNER_NAMES) is None


def test_a_request_is_open_until_something_is_decided_about_its_certificate() -> None:
    assert is_open(request(), SIGNER_NAMES)
    assert is_open(request("Approved"), SIGNER_NAMES)
    assert not is_open(request("Denied"), SIGNER_NAMES)
    assert not is_open(request("Approved"), {})


@pytest.mark.parametrize(
    ("usages", "reason"),
    [
        (None, "digital signature"),
        (["client auth"], "digital signature"),
        ([*USAGES, "server auth"], "server auth"),
        ([*USAGES, "client auth"], "twice"),
        ([*USAGES, "nonsense"], "nonsense"),
    ],
)
def test_usages_are_those_of_the_signer_name(usages: list[str] | None, reason: str) -> None:
    verdict = judge(request("Approved", spec={"usages": usages}), SIGNER_NAMES)
    assert isinstance(verdict, Unfit)
    assert reason in verdict.message


def test_key_encipherment_may_be_there() -> None:
    assert isinstance(
        judge(request("Approved", spec={"usages": [*USAGES, "key encipherment"]}), SIGNER_NAMES), Wish
    )


def test_what_is_not_base64_is_unfit() -> None:
    assert isinstance(judge(request("Approved", spec={"request": "?"}), SIGNER_NAMES), Unfit)
