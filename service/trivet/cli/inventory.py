"""`trivet inventory`: which node owns which names and addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, words_of
from trivet.cli.files import read_file
from trivet.cli.inventory_files import Line, read_inventory
from trivet.cli.output import Format, Output, note, show_list, show_object

if TYPE_CHECKING:
    from trivet.client import Client

app = typer.Typer(
    name="inventory", help="Say which node owns which names and addresses.", no_args_is_help=True
)

_COLUMNS: Final = {
    "NODE": "node",
    "DNS NAMES": "dnsNames",
    "IP ADDRESSES": "ipAddresses",
    "PINNED": "pinned",
    "UPDATED": "updatedAt",
    "BY": "updatedBy",
}
_FIELDS: Final = {
    "Node": "node",
    "DNS names": "dnsNames",
    "IP addresses": "ipAddresses",
    "Pinned": "pinned",
    "Updated": "updatedAt",
    "By": "updatedBy",
}

Node = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


@app.command(name="list")
def list_nodes(
    context: typer.Context, *, cluster: ClusterOption = None, output: Output = Format.TABLE
) -> None:
    """List what the nodes of a cluster own."""
    with connect(context) as trivet:
        show_list(trivet.inventory.list(cluster_name(context, cluster)), output, _COLUMNS)


@app.command(name="set")
def set_node(
    context: typer.Context,
    node: Node,
    *,
    dns: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A DNS name; may be repeated.")
    ] = None,
    ip: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="An address or a CIDR range; may be repeated."),
    ] = None,
    cluster: ClusterOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what a node owns beyond its own name, in the place of what was said before."""
    with connect(context) as trivet:
        stored = trivet.inventory.replace(cluster_name(context, cluster), node, dns or (), ip or ())
    show_object(stored, output, _FIELDS)


@app.command()
def delete(context: typer.Context, node: Node, *, cluster: ClusterOption = None) -> None:
    """Take from a node all that it owns; certificates that it holds stay as they are."""
    with connect(context) as trivet:
        trivet.inventory.delete(cluster_name(context, cluster), node)
    note(f"deleted: {node}")


@app.command(name="import")
def import_file(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, or YAML where its name ends so; - for stdin.")
    ],
    *,
    cluster: ClusterOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look for what is wrong.")] = False,
) -> None:
    """Import what nodes own. A file that is wrong anywhere is refused whole, with the line of each fault.

    CSV has the header node,dnsNames,ipAddresses, and several values in a cell are set apart by spaces or semicolons.
    YAML is a mapping of nodes to dnsNames and ipAddresses.
    """
    try:
        text = read_file(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{file} is not UTF-8"
        raise CommandError(message) from error
    lines = read_inventory(str(file), text, is_yaml=file.suffix in {".yaml", ".yml"})
    if dry_run:
        note(f"{len(lines)} nodes; nothing is wrong with the file, and nothing was imported")
        return
    with connect(context) as trivet:
        refused = _put(trivet, cluster_name(context, cluster), lines)
    note(f"{len(lines) - len(refused)} nodes were imported")
    if refused:
        raise CommandError("\n".join([f"{len(refused)} were refused", *refused]))


def _put(trivet: Client, cluster: str, lines: list[Line]) -> list[str]:
    """Put each node; what was refused, with its line. A second import of the mended file does no harm."""
    from trivet.client import ProblemError

    refused = []
    for line in lines:
        try:
            trivet.inventory.replace(cluster, line.node, line.dns_names, line.ip_addresses)
        except ProblemError as error:
            if error.slug not in {"conflict", "invalid"}:
                raise
            refused.append(f"  line {line.number}: {words_of(error).removeprefix('trivet: ')}")
    return refused
