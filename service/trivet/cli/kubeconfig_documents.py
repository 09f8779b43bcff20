"""Kubeconfigs (client-go's tools/clientcmd/api/v1) as documents: whom to ask, and as whom."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from trivet.bootstrap.files import PRIVATE
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import StagedFile, read_certificate, read_file, read_key, refuse_existing
from trivet.pki.keys import spki

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Document = dict[str, Any]
OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class Target:
    """The server, and by which CA it is known.

    Attributes:
        name: of the cluster.
        server: its URL.
        ca_file: by whom it is known; None for what the system trusts, or `ca_pem`.
        ca_pem: the CA certificates themselves, where no file of this machine holds them.
    """

    name: str
    server: str
    ca_file: Path | None = None
    ca_pem: bytes | None = None

    def shown(self, *, embed: bool) -> Document:
        """As a kubeconfig's cluster."""
        cluster: Document = {"server": self.server}
        pem = read_file(self.ca_file) if embed and self.ca_file is not None else self.ca_pem
        if pem is not None:
            return cluster | {"certificate-authority-data": _encoded(pem)}
        return cluster | (
            {"certificate-authority": str(self.ca_file.resolve())} if self.ca_file is not None else {}
        )


def certificate_user(certificate: Path, key: Path | None, *, embed: bool) -> Document:
    """A user who is known by a client certificate; the key is beside it, or in the same file.

    Raises:
        CommandError: they cannot be read, or others can read the key.
    """
    key_file = key or key_file_of(certificate)
    require_private(key_file)
    if spki(read_key(key_file).public_key()) != spki(read_certificate(certificate).public_key()):
        message = f"the key in {key_file} does not belong to the certificate in {certificate}"
        raise CommandError(message)
    if not embed:
        # Not resolved: kubelet's kubelet-client-current.pem is a link that moves with each renewal.
        return {"client-certificate": str(certificate.absolute()), "client-key": str(key_file.absolute())}
    from trivet.agent.files.pairs import key_pair_from_pem

    pair = key_pair_from_pem(read_file(certificate), read_file(key_file))
    return {
        "client-certificate-data": _encoded(pair.certificates_pem),
        "client-key-data": _encoded(pair.key_pem),
    }


def token_user(token_file: Path, *, embed: bool) -> Document:
    """A user who is known by a token.

    Raises:
        CommandError: it cannot be read, or others can.
    """
    require_private(token_file)
    token = read_file(token_file).decode("ascii", "replace").strip()
    if not token or not token.isprintable() or " " in token or "\ufffd" in token:
        message = f"{token_file} holds no token"
        raise CommandError(message)
    return {"token": token} if embed else {"tokenFile": str(token_file.absolute())}


def exec_user(command: str, arguments: Sequence[str]) -> Document:
    """A user whose credential a command gives, each time that one is needed."""
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": command,
            "args": list(arguments),
            "interactiveMode": "Never",
            "provideClusterInfo": False,
        }
    }


def kubeconfig(
    target: Target, user_name: str, user: Mapping[str, Any], *, embed: bool, namespace: str | None
) -> bytes:
    """The whole, as YAML; its one context is the current one."""
    context = {"cluster": target.name, "user": user_name}
    name = f"{user_name}@{target.name}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": target.name, "cluster": target.shown(embed=embed)}],
        "users": [{"name": user_name, "user": dict(user)}],
        "contexts": [{"name": name, "context": context | ({"namespace": namespace} if namespace else {})}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def write_kubeconfig(path: Path, content: bytes, *, force: bool) -> None:
    """Write a kubeconfig that only its owner reads, whole or not at all.

    Raises:
        CommandError: it is there and not to be replaced, or cannot be written.
    """
    if not force:
        refuse_existing(path)
    staged = StagedFile(path, content, PRIVATE)
    try:
        staged.commit() if force else staged.commit_new()
    except BaseException:
        staged.discard()
        raise


def require_private(path: Path) -> None:
    """Refuse a secret that its group or others may read.

    Raises:
        CommandError: they may, or it cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise CommandError(message) from error
    if mode & OTHERS:
        message = f"others than its owner can read {path}, which holds a secret: chmod 600 {path}"
        raise CommandError(message)


def key_file_of(certificate: Path) -> Path:
    """The file of the key: as kubeadm has it beside the certificate, or as kubelet has it in the same file."""
    beside = certificate.with_suffix(".key")
    if beside.exists():
        return beside
    if b"PRIVATE KEY" in read_file(certificate):
        return certificate
    message = f"where is the key of {certificate}? neither in it nor in {beside}; name it with --key"
    raise CommandError(message, ExitCode.USAGE)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
