from __future__ import annotations

import pytest
from tests.unit.cli.outcome import Trivet

KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 7, "there is no file missing"),
        (["--no-sign", "--no-mirror"], 2, "nothing to do"),
        (["--signer-name", "example.com/x"], 2, "NAME=PROFILE"),
        (["--signer-name", "example.com/x=etcd-peer"], 2, "NAME=PROFILE"),
        (["--signer-name", f"{KUBELET}=kubelet-serving"], 2, "is for the profile kubelet-client"),
        (["--metrics-listen", "nonsense"], 2, "--metrics-listen"),
    ],
)
def test_wrong_options_are_told_in_words(
    bare_trivet: Trivet, options: list[str], code: int, words: str
) -> None:
    asked = (
        "--url",
        "https://127.0.0.1:1",
        "signer",
        "--cluster",
        "demo",
        "--kubeconfig",
        "missing",
        *options,
    )
    assert words in bare_trivet(*asked, code=code).err


def test_a_client_certificate_is_refused_in_words(bare_trivet: Trivet) -> None:
    asked = (
        "--url",
        "https://127.0.0.1:1",
        "--certificate-file",
        "x",
        "signer",
        "-c",
        "demo",
        "--kubeconfig",
        "missing",
    )
    assert "access token of the role signer" in bare_trivet(*asked, code=2).err
