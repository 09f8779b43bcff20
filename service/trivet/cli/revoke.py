"""`trivet revoke`: let a revocation stand, after a look at what it would do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import AllClusters, ClusterOption, connect, scope_name
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.manifests import (
    NAMESPACE,
    Addresses,
    CommonNames,
    Description,
    DnsNames,
    Groups,
    ManifestFile,
    Namespace,
    NotBefore,
    ObjectName,
    PublicKeys,
    Serials,
    manifest_from,
)
from trivet.cli.output import Format, Output, note, printable, show_document
from trivet.pki.revocation import EntryKind

if TYPE_CHECKING:
    from trivet.cli.manifests import Manifest
    from trivet.client import Client
    from trivet.client.revocation_schemas import RevocationPreview
    from trivet.client.revocations import Stored

_MOST_SHOWN: Final = 20


def revoke(
    context: typer.Context,
    *,
    file: ManifestFile = None,
    serial: Serials = None,
    group: Groups = None,
    dns: DnsNames = None,
    ip: Addresses = None,
    common_name: CommonNames = None,
    public_key: PublicKeys = None,
    not_before: NotBefore = None,
    name: ObjectName = None,
    namespace: Namespace = NAMESPACE,
    description: Description = None,
    cluster: ClusterOption = None,
    all_clusters: AllClusters = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the one of that name.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not show the preview and ask.")] = False,
    confirm: Annotated[str | None, typer.Option(metavar="TOKEN", help="Of a preview that was read.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Revoke certificates, and ban what names them.

    Certificates that the entries name are revoked, and none that they name is issued any more. Shows first
    what would be hit, and asks.
    """
    values = {
        EntryKind.SERIAL_NUMBER: serial,
        EntryKind.GROUP: group,
        EntryKind.DNS: dns,
        EntryKind.IP: ip,
        EntryKind.COMMON_NAME: common_name,
        EntryKind.PUBLIC_KEY: public_key,
    }
    manifest = manifest_from(
        file, values, not_before=not_before, name=name, namespace=namespace, description=description
    )
    scope = scope_name(context, cluster, all_clusters=all_clusters)
    with connect(context) as trivet:
        if not yes and confirm is None:
            confirm = _confirmed(trivet, scope, manifest)
        stored = _store(trivet, scope, manifest, confirm, replace=replace)
    for warning in stored.warnings:
        note(f"Warning: {printable(warning)}")
    _show(stored, output)


def _confirmed(trivet: Client, scope: str | None, manifest: Manifest) -> str:
    """The token of a preview that somebody has read and agreed to."""
    preview = trivet.revocations.preview(scope, manifest.body)
    show_preview(preview)
    if not is_interactive():
        message = "nothing was revoked: there is nobody to ask; repeat with --yes"
        raise CommandError(message, ExitCode.USAGE)
    where = f"the cluster {scope}" if scope else "ALL clusters"
    if not typer.confirm(f"Revoke in {where}?", err=True):
        raise CommandError("nothing was revoked", ExitCode.REFUSED)
    return preview["token"]


def is_interactive() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def show_preview(preview: RevocationPreview) -> None:
    """Tell people what a revocation would do; on stderr, so that stdout has the result alone."""
    note(f"Live certificates that would be revoked: {preview['count']}")
    for total in preview["profiles"]:
        note(f"  {total['count']} {total['profile']}; the first expires at {total['firstNotAfter']}")
    if preview["byLineage"]:
        note(f"Of these only because they were renewed from a serial that is named: {preview['byLineage']}")
    _show_nodes(preview)
    note("What could no longer be issued:" if preview["banned"] else "Nothing would be banned from now on.")
    for ban in preview["banned"]:
        note(f"  {printable(ban)}")
    for warning in preview["warnings"]:
        note(f"Warning: {printable(warning)}")


def _show_nodes(preview: RevocationPreview) -> None:
    hits = [hit for hit in preview["hits"] if hit["node"] is not None]
    if hits:
        note("On nodes:")
    for hit in hits[:_MOST_SHOWN]:
        where = f"{printable(hit['node'] or '')} of {printable(hit['cluster'])}"
        note(f"  {hit['count']} {hit['profile']} on {where}")
    if len(hits) > _MOST_SHOWN or preview["hasMoreHits"]:
        note("  and more: `trivet revocations preview -o json` lists up to a thousand")


def _store(
    trivet: Client, scope: str | None, manifest: Manifest, confirm: str | None, *, replace: bool
) -> Stored:
    if not replace:
        return trivet.revocations.create(scope, manifest.body, confirm=confirm)
    standing = trivet.revocations.get(scope, manifest.namespace, manifest.name)
    return trivet.revocations.replace(
        scope, manifest.namespace, manifest.name, manifest.body, etag=standing.etag, confirm=confirm
    )


def _show(stored: Stored, output: Format) -> None:
    if output is not Format.TABLE:
        show_document(stored.revocation, output)
        return
    metadata, marked = stored.revocation["metadata"], stored.revocation.get("status", {}).get("marked", 0)
    entries = len(stored.revocation["spec"]["revocations"])
    typer.echo(
        f"{metadata.get('namespace')}/{metadata['name']} stands with entries: {entries};"
        f" certificates revoked: {marked}"
    )
