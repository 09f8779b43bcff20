"""`trivet revocations`: look at what stands, preview what would, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trivet.cli.connection import AllClusters, ClusterOption, connect, scope_name
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
from trivet.cli.output import Format, Output, note, show_document, show_list
from trivet.cli.revoke import show_preview
from trivet.pki.manifest import VALUE_FIELDS
from trivet.pki.revocation import EntryKind

if TYPE_CHECKING:
    from trivet.client.revocation_schemas import RenewRevocation, RevocationEntry

app = typer.Typer(
    name="revocations", help="Look at revocations, preview and delete them.", no_args_is_help=True
)

_COLUMNS: Final = {
    "NAMESPACE": "namespace",
    "NAME": "name",
    "ENTRIES": "entries",
    "CREATED": "created",
    "DESCRIPTION": "why",
}
_ENTRIES: Final = {"KIND": "kind", "VALUE": "value", "NOT BEFORE": "notBefore", "DESCRIPTION": "description"}

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the RenewRevocation.")]


@app.command()
def preview(
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
    output: Output = Format.TABLE,
) -> None:
    """Tell what a revocation would do, and do nothing."""
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
    with connect(context) as trivet:
        scope = scope_name(context, cluster, all_clusters=all_clusters)
        found = trivet.revocations.preview(scope, manifest.body)
    if output is not Format.TABLE:
        show_document(found, output)
        return
    show_preview(found)
    note("To confirm it where the service asks for that: --confirm and")
    typer.echo(found["token"])


@app.command(name="list")
def list_revocations(
    context: typer.Context,
    *,
    cluster: ClusterOption = None,
    all_clusters: AllClusters = False,
    output: Output = Format.TABLE,
) -> None:
    """List the revocations that stand, of one cluster or of the scope "all clusters"."""
    with connect(context) as trivet:
        found = trivet.revocations.list(scope_name(context, cluster, all_clusters=all_clusters))
        rows = found if output is not Format.TABLE else map(_row, found)
        show_list(rows, output, _COLUMNS)


def _row(revocation: RenewRevocation) -> dict[str, Any]:
    metadata, spec = revocation["metadata"], revocation["spec"]
    return {
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "entries": len(spec["revocations"]),
        "created": metadata.get("creationTimestamp"),
        "why": spec.get("description"),
    }


@app.command()
def show(
    context: typer.Context,
    name: Name,
    *,
    namespace: Namespace = NAMESPACE,
    cluster: ClusterOption = None,
    all_clusters: AllClusters = False,
    output: Output = Format.TABLE,
) -> None:
    """Show a revocation and its entries."""
    with connect(context) as trivet:
        scope = scope_name(context, cluster, all_clusters=all_clusters)
        found = trivet.revocations.get(scope, namespace, name).revocation
    if output is not Format.TABLE:
        show_document(found, output)
        return
    show_list([_row(found)], output, _COLUMNS)
    typer.echo()
    show_list(map(_entry, found["spec"]["revocations"]), output, _ENTRIES)


def _entry(entry: RevocationEntry) -> dict[str, object]:
    members: dict[str, object] = {**entry}
    return members | {"value": members[VALUE_FIELDS[EntryKind(entry["kind"])]]}


@app.command()
def delete(
    context: typer.Context,
    name: Name,
    *,
    namespace: Namespace = NAMESPACE,
    cluster: ClusterOption = None,
    all_clusters: AllClusters = False,
) -> None:
    """Let a revocation stand no longer.

    New certificates may be issued again; those that it revoked stay revoked.
    """
    with connect(context) as trivet:
        scope = scope_name(context, cluster, all_clusters=all_clusters)
        trivet.revocations.delete(scope, namespace, name)
    note(f"deleted: {namespace}/{name}; certificates that it revoked stay revoked")
