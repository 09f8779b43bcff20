"""RenewRevocation objects, of one cluster or of all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from trivet.client.clusters import cluster_path
from trivet.client.pages import each

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from trivet.client.connection import Connection
    from trivet.client.revocation_schemas import RenewRevocation, RevocationPreview

DEFAULT_NAMESPACE: Final = "kube-system"
_YAML: Final = "application/yaml"
# RFC 9111 section 5.5 (of its forerunner): warn-code SP warn-agent SP warn-text
_WARNING = re.compile(r'\d{3} \S+ "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Stored:
    """A revocation as the service keeps it, its version, and what the service warns of."""

    revocation: RenewRevocation
    etag: str | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revocations:
    """The operations on RenewRevocation objects. A cluster of None means all clusters."""

    connection: Connection

    def preview(self, cluster: str | None, manifest: bytes) -> RevocationPreview:
        """Tell what a manifest (YAML or JSON) would do, and do nothing."""
        query = {"dryRun": "All"}
        answer = self.connection.call("POST", _path(cluster), query=query, body=(_YAML, manifest))
        return cast("RevocationPreview", answer)

    def create(self, cluster: str | None, manifest: bytes, *, confirm: str | None = None) -> Stored:
        """Let a manifest stand; `confirm` is the token of its preview."""
        query = {"confirm": confirm}
        return _stored(self.connection.send("POST", _path(cluster), query=query, body=(_YAML, manifest)))

    def replace(
        self,
        cluster: str | None,
        namespace: str,
        name: str,
        manifest: bytes,
        *,
        etag: str | None = None,
        confirm: str | None = None,
    ) -> Stored:
        """Put another content in an object's place, where it still has the version `etag`."""
        path, headers = _path(cluster, namespace, name), _if_match(etag)
        query = {"confirm": confirm}
        answer = self.connection.send("PUT", path, query=query, body=(_YAML, manifest), headers=headers)
        return _stored(answer)

    def list(self, cluster: str | None, limit: int | None = None) -> Iterator[RenewRevocation]:
        """The objects that stand, by namespace and name."""
        return each(self.connection, _path(cluster), limit=limit)

    def get(self, cluster: str | None, namespace: str, name: str) -> Stored:
        """One object."""
        return _stored(self.connection.send("GET", _path(cluster, namespace, name)))

    def delete(self, cluster: str | None, namespace: str, name: str, *, etag: str | None = None) -> None:
        """Let an object stand no longer; certificates that it marked stay revoked."""
        self.connection.send("DELETE", _path(cluster, namespace, name), headers=_if_match(etag))


def _path(cluster: str | None, *names: str) -> str:
    if cluster is not None:
        return cluster_path(cluster, "renew-revocations", *names)
    return "/".join(["renew-revocations", *(quote(name, safe="") for name in names)])


def _if_match(etag: str | None) -> dict[str, str]:
    return {"If-Match": etag} if etag else {}


def _stored(answer: httpx.Response) -> Stored:
    headers = answer.headers.get_list("Warning")
    warnings = (text for header in headers for text in _WARNING.findall(header))
    plain = tuple(re.sub(r"\\(.)", r"\1", text) for text in warnings)
    return Stored(answer.json(), answer.headers.get("ETag"), plain)
