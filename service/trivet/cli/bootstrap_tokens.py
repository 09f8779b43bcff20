"""`trivet bootstrap-token`: make, list and delete the tokens by which new nodes come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.files import refuse_existing
from trivet.cli.minted import hand_out
from trivet.cli.output import Format, Output, note, show_list
from trivet.cli.spans import parse_seconds

app = typer.Typer(
    name="bootstrap-token", help="Make, list and delete bootstrap tokens.", no_args_is_help=True
)

_COLUMNS: Final = {
    "ID": "id",
    "NODE": "node",
    "USAGES": "usages",
    "GROUPS": "groups",
    "EXPIRES": "expiresAt",
    "DESCRIPTION": "description",
}


@app.command()
def create(
    context: typer.Context,
    *,
    node: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The one node that it is for; else any new one.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="system:bootstrappers:NAME; may be repeated."),
    ] = None,
    usage: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="authentication (the default) or signing; may be repeated."),
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="Who has it, and what for.")] = None,
    expires_in: Annotated[
        int | None, typer.Option(parser=parse_seconds, metavar="SPAN", help="How long it holds; else 24h.")
    ] = None,
    cluster: ClusterOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file for the token (mode 0600); else it is printed."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a bootstrap token. Its secret is shown this once, and cannot be had again."""
    if out is not None:
        refuse_existing(out)
    with connect(context) as trivet:
        made = trivet.bootstrap_tokens.create(
            cluster_name(context, cluster),
            node=node,
            usages=usage,
            groups=group,
            description=description,
            expires_in_seconds=expires_in,
        )
    told = f"bootstrap token {made['id']} for {made['node'] or 'any new node'}, expires {made['expiresAt']}"
    hand_out(made, told, out, output, member="token")


@app.command(name="list")
def list_tokens(
    context: typer.Context, *, cluster: ClusterOption = None, output: Output = Format.TABLE
) -> None:
    """List the bootstrap tokens of a cluster, without their secrets."""
    with connect(context) as trivet:
        show_list(trivet.bootstrap_tokens.list(cluster_name(context, cluster)), output, _COLUMNS)


@app.command()
def delete(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The six characters before the dot.")],
    *,
    cluster: ClusterOption = None,
) -> None:
    """Make a bootstrap token worthless, from the next request on."""
    with connect(context) as trivet:
        trivet.bootstrap_tokens.delete(cluster_name(context, cluster), token)
    note(f"deleted: {token}")
