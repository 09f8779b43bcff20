from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.node_pairs import pair

from trivet.signer.errors import AccessError
from trivet.signer.kubeconfig import read_access

PAIR = pair(1)


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def write(folder: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Path:
    (folder / "ca.crt").write_bytes(PAIR.certificates_pem)
    known = {"server": "https://api:6443/", "certificate-authority": "ca.crt"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "other", "cluster": {"server": "https://other"}},
            {"name": "it", "cluster": known | (cluster or {})},
        ],
        "users": [{"name": "me", "user": {"token": "secret-token"} if user is None else user}],
        "contexts": [{"name": "c", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_token_stands_in_the_header_and_in_no_repr(tmp_path: Path) -> None:
    access = read_access(write(tmp_path))
    assert (access.server, access.headers()) == ("https://api:6443", {"Authorization": "Bearer secret-token"})
    assert "secret-token" not in repr(access)


def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    access = read_access(write(tmp_path, user={"tokenFile": "token"}))
    with pytest.raises(AccessError, match="token file"):
        access.headers()
    for token in ("one", "two"):
        (tmp_path / "token").write_text(token + "\n")
        assert access.headers() == {"Authorization": f"Bearer {token}"}


def test_a_pair_is_taken_from_files_or_from_within(tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    within = {
        "client-certificate-data": encoded(PAIR.certificates_pem),
        "client-key-data": encoded(PAIR.key_pem),
    }
    assert read_access(write(tmp_path, user=within)).headers() == {}
    assert {path.name for path in tmp_path.iterdir()} - before == {"ca.crt", "kubeconfig"}, (
        "the key lies in no other file"
    )
    (tmp_path / "me.crt").write_bytes(PAIR.certificates_pem)
    (tmp_path / "me.key").write_bytes(PAIR.key_pem)
    access = read_access(write(tmp_path, user={"client-certificate": "me.crt", "client-key": "me.key"}))
    assert access.is_current
    (tmp_path / "me.crt").write_bytes(PAIR.certificates_pem + b"\n")
    assert not access.is_current, "a client certificate that was renewed is taken up"


def test_the_bundle_may_stand_within(tmp_path: Path) -> None:
    cluster = {"certificate-authority": None, "certificate-authority-data": encoded(PAIR.certificates_pem)}
    access = read_access(write(tmp_path, cluster | {"tls-server-name": "kubernetes"}))
    assert access.trust.cert_store_stats()["x509"] == 1
    assert access.server_name == "kubernetes"


@pytest.mark.parametrize(
    ("cluster", "user", "words"),
    [
        ({"server": "http://api:8080"}, None, "https"),
        ({"server": None}, None, "https"),
        ({"insecure-skip-tls-verify": True}, None, "certificate-authority"),
        ({"proxy-url": "http://proxy"}, None, "proxies"),
        ({"certificate-authority": "missing.crt"}, None, "missing.crt|cannot be used"),
        ({"certificate-authority-data": "?"}, None, "Base64"),
        ({"certificate-authority-data": encoded(b"nonsense")}, None, "cannot be used"),
        (None, {"exec": {"command": "x"}}, "credential plugins"),
        (None, {"username": "x", "password": "hunter2"}, "passwords"),
        (None, {"client-certificate": "missing.crt", "client-key": "missing.key"}, "cannot be used"),
        (None, {"client-key-data": encoded(PAIR.key_pem)}, "client-certificate-data"),
    ],
)
def test_what_is_wrong_or_unsafe_is_refused_in_words(
    tmp_path: Path, cluster: dict[str, Any] | None, user: dict[str, Any] | None, words: str
) -> None:
    with pytest.raises(AccessError, match=words) as refused:
        read_access(write(tmp_path, cluster, user))
    assert "hunter2" not in str(refused.value)
    assert "PRIVATE KEY" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "nonsense: [", "kind: Config", "kind: Pod", "{kind: Config, contexts: 3}"]
)
def test_what_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(AccessError, match="kubeconfig"):
        read_access(path)
    with pytest.raises(AccessError, match="missing"):
        read_access(tmp_path / "missing")
