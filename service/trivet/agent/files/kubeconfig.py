"""Kubeconfigs (client-go's tools/clientcmd/api/v1): read, made, and changed with what else they say kept."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import yaml

from trivet.agent.files.errors import FileFaultError, FileReason
from trivet.agent.files.reading import parsed_pair

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trivet.agent.files.pairs import KeyPair
    from trivet.agent.plan.model import KubeconfigStorage, PlannedKubeconfig

Document = dict[str, Any]


def load(text: bytes, path: Path) -> Document:
    """Read a kubeconfig.

    Raises:
        FileFaultError: UNREADABLE, it is none.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        # Without its cause, which would quote what it read: a private key, perhaps.
        raise _unreadable(path, "it is not YAML") from None
    if not isinstance(document, dict) or document.get("kind") != "Config":
        raise _unreadable(path, "it is not a kubeconfig: kind must be Config")
    for kind in ("clusters", "contexts", "users"):
        if not isinstance(document.get(kind) or [], list):
            raise _unreadable(path, f"its {kind} must be a list")
    return document


def dump(document: Document) -> bytes:
    """A kubeconfig as text."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()


def embedded_pair(document: Document, path: Path) -> KeyPair | None:
    """The certificate and key of the current context's user; None where it holds none.

    Raises:
        FileFaultError: UNREADABLE, INCOMPLETE or MISMATCH.
    """
    user = _member(document, "users", _current(document, "user"), "user")
    chain, key = user.get("client-certificate-data"), user.get("client-key-data")
    if not chain and not key:
        return None
    if not chain or not key:
        missing = "client-key-data" if chain else "client-certificate-data"
        raise FileFaultError(path, FileReason.INCOMPLETE, f"its user has no {missing}")
    return parsed_pair(_decoded(chain, path), _decoded(key, path), path)


def embedded_bundle(document: Document) -> bytes | None:
    """The certificates by which the current context's cluster is known, PEM; None where there are none."""
    cluster = _member(document, "clusters", _current(document, "cluster"), "cluster")
    try:
        return base64.b64decode(str(cluster.get("certificate-authority-data") or ""), validate=True) or None
    except binascii.Error:
        return None


def server_of(document: Document) -> str:
    """The API server's URL of the current context; "" where there is none."""
    return str(_member(document, "clusters", _current(document, "cluster"), "cluster").get("server", ""))


def with_embedded(
    document: Document | None, storage: KubeconfigStorage, pair: KeyPair, bundle: bytes
) -> Document:
    """A kubeconfig with this pair, server and bundle; what else the former one says is kept."""
    credentials = {
        "client-certificate-data": _encoded(pair.certificates_pem),
        "client-key-data": _encoded(pair.key_pem),
    }
    return _merged(document, storage, bundle, credentials)


def with_references(document: Document | None, planned: PlannedKubeconfig, bundle: bytes) -> Document:
    """A kubeconfig that names a certificate's files; what else the former one says is kept."""
    credentials = {
        "client-certificate": str(planned.client_certificate),
        "client-key": str(planned.client_key),
    }
    return _merged(document, planned, bundle, credentials)


def _merged(
    former: Document | None,
    planned: KubeconfigStorage | PlannedKubeconfig,
    bundle: bytes,
    credentials: Mapping[str, str],
) -> Document:
    document = {"apiVersion": "v1", "kind": "Config", **(former or {})}
    context = str(document.get("current-context") or f"{planned.user}@{planned.cluster}")
    cluster_name = _current(document, "cluster") or planned.cluster
    user_name = _current(document, "user") or planned.user
    cluster = {
        key: value
        for key, value in _member(document, "clusters", cluster_name, "cluster").items()
        if key != "certificate-authority"
    }
    cluster |= {"certificate-authority-data": _encoded(bundle), "server": planned.server}
    # Only one way to authenticate: client-go takes the data before the files, and a token beside both.
    _put(document, "clusters", cluster_name, "cluster", cluster)
    _put(document, "contexts", context, "context", _context(document, cluster_name, user_name))
    document["current-context"] = context
    _put(document, "users", user_name, "user", dict(credentials))
    return document


def _context(document: Document, cluster: str, user: str) -> Document:
    former = _member(document, "contexts", document.get("current-context"), "context")
    return {**former, "cluster": cluster, "user": user}


def _current(document: Document, kind: str) -> str | None:
    name = _member(document, "contexts", document.get("current-context"), "context").get(kind)
    return name if isinstance(name, str) else None


def _member(document: Document, kind: str, name: object, member: str) -> Document:
    for item in document.get(kind) or []:
        if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(member), dict):
            found: Document = item[member]
            return found
    return {}


def _put(document: Document, kind: str, name: str, member: str, value: Document) -> None:
    others = [
        item for item in document.get(kind) or [] if not (isinstance(item, dict) and item.get("name") == name)
    ]
    document[kind] = [*others, {"name": name, member: value}]


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _decoded(value: object, path: Path) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error:
        raise _unreadable(path, "its user's certificate or key is not Base64") from None


def _unreadable(path: Path, detail: str) -> FileFaultError:
    return FileFaultError(path, FileReason.UNREADABLE, detail)
