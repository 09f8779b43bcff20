"""A kubeadm `pki/` folder as openssl makes it: the roots of a cluster that runs already."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trivet.authority.create import ImportedRoot
from trivet.pki.profiles import AuthorityName

# Where kubeadm keeps each root, and what it calls it (cmd/kubeadm/app/phases/certs/certlist.go).
FILES = {
    AuthorityName.CLUSTER: ("ca", "kubernetes"),
    AuthorityName.ETCD: ("etcd/ca", "etcd-ca"),
    AuthorityName.FRONT_PROXY: ("front-proxy-ca", "front-proxy-ca"),
}
KEYS = {
    "P-384": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "P-256": ("ecparam", "-genkey", "-noout", "-name", "prime256v1"),
    "RSA-2048": ("genrsa", "-traditional", "2048"),
    "RSA-1024": ("genrsa", "-traditional", "1024"),
    "Ed25519": ("genpkey", "-algorithm", "ED25519"),
}
_CONFIG = """
[req]
distinguished_name = subject
x509_extensions = root
prompt = no
[subject]
CN = {common_name}
[root]
basicConstraints = critical, CA:{is_ca}
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
subjectKeyIdentifier = hash
subjectAltName = DNS:{common_name}
"""


def openssl(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def make_root(folder: Path, name: str, common_name: str, key: str = "P-384", *, is_ca: bool = True) -> None:
    """Write NAME.key and NAME.crt, a self-signed root of ten years."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    config = _CONFIG.format(common_name=common_name, is_ca=str(is_ca).upper())
    (folder / f"{name}.cnf").write_text(config)
    openssl(*KEYS[key][:1], "-out", f"{name}.key", *KEYS[key][1:], cwd=folder)
    request = ("req", "-x509", "-new", "-key", f"{name}.key", "-days", "3650", "-config", f"{name}.cnf")
    openssl(*request, "-out", f"{name}.crt", cwd=folder)


def make_pki(folder: Path, key: str = "P-384") -> Path:
    """Write the three roots with their keys."""
    for name, common_name in FILES.values():
        make_root(folder, name, common_name, key)
    return folder


def read_root(folder: Path, name: str) -> ImportedRoot:
    return ImportedRoot((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())


def read_pki(folder: Path) -> dict[AuthorityName, ImportedRoot]:
    """Read what is imported."""
    return {authority: read_root(folder, name) for authority, (name, _) in FILES.items()}
