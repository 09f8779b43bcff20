"""`trivet repair`: bring back a cluster whose certificates expired or were revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperGroup

from trivet.cli import bundle
from trivet.cli.connection import connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import refuse_existing
from trivet.cli.minted import SecretOut, hand_out
from trivet.cli.output import Format, Output, note, show_list
from trivet.cli.repair_view import end, follow, open_window, show_repair
from trivet.cli.spans import parse_seconds
from trivet.pki.repair import Stage

if TYPE_CHECKING:
    from typer._click.core import Context

_OPEN: Final = "open"
_WINDOWS: Final = {
    "ID": "id",
    "STATE": "state",
    "OPENED": "openedAt",
    "ENDS": "endsAt",
    "CLOSED": "closedAt",
    "BY": "openedBy",
}


class NameOrCommand(TyperGroup):
    """`trivet repair NAME` is `trivet repair open NAME`, unless NAME is another command."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Put `open` before what is no command."""
        if args and args[0] not in self.commands and args[0] not in {"--help", "-h"}:
            args = [_OPEN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="repair",
    help="Bring back a cluster whose certificates expired or were revoked: trivet repair NAME.",
    no_args_is_help=True,
    cls=NameOrCommand,
)
app.add_typer(bundle.app)

Cluster = Annotated[str, typer.Argument(metavar="NAME", help="The cluster's name.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


@app.command(name=_OPEN)
def open_repair(
    context: typer.Context,
    name: Cluster,
    *,
    lasting: Annotated[
        int | None,
        typer.Option(
            "--for",
            parser=parse_seconds,
            metavar="SPAN",
            help="How long it stays open: 30m, 8h [2h].",
        ),
    ] = None,
    expired_for: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds, metavar="SPAN", help="How long ago a certificate may have expired: 90d."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds,
            metavar="SPAN",
            help="How long a stage may stand still before the next begins [5m].",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would bar the way.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the repair until it is done or the window ends.")] = True,
    output: Output = Format.TABLE,
) -> None:
    """Open a window in which expired certificates may renew, and follow the repair.

    In the order etcd, API servers, the rest. Ends with 0 once every identity is fresh, and with 1 if the window ends
    before. The command itself is short for `trivet repair open NAME`.
    """
    with connect(context) as trivet:
        repair = trivet.repairs.open(
            name,
            for_seconds=lasting,
            expired_for_seconds=expired_for,
            patience_seconds=patience,
            dry_run=dry_run,
        )
        if not dry_run and wait:
            note(f"repair window {repair['id']}, open until {repair['endsAt']}")
            repair = follow(trivet, repair)
    show_repair(repair, output)
    if not dry_run and wait:
        end(repair)


@app.command()
def status(
    context: typer.Context,
    name: Cluster,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it until it is done or the window ends.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show how the last repair of a cluster stands, and what bars its way."""
    with connect(context) as trivet:
        window = next(trivet.repairs.list(name, 1), None)
        if window is None:
            message = f"the cluster {name} was never repaired; open a window: trivet repair {name}"
            raise CommandError(message, ExitCode.NOT_FOUND)
        repair = trivet.repairs.get(name, window["id"])
        if watch:
            repair = follow(trivet, repair)
    show_repair(repair, output)
    if watch:
        end(repair)


@app.command(name="list")
def list_repairs(context: typer.Context, name: Cluster, output: Output = Format.TABLE) -> None:
    """List the repair windows of a cluster, newest first."""
    with connect(context) as trivet:
        show_list(trivet.repairs.list(name), output, _WINDOWS)


@app.command()
def close(context: typer.Context, name: Cluster) -> None:
    """Close a cluster's repair window at once; its one-time tokens are worthless from then on."""
    with connect(context) as trivet:
        window = open_window(trivet, name)
        trivet.repairs.close(name, window)
    note(f"closed: {window}")


@app.command()
def skip(
    context: typer.Context,
    name: Cluster,
    stage: Annotated[Stage, typer.Argument(metavar="STAGE", help="etcd or api-server.")],
    output: Output = Format.TABLE,
) -> None:
    """Let the next stage begin, though this one is not over."""
    with connect(context) as trivet:
        repair = trivet.repairs.skip(name, open_window(trivet, name), stage.value)
    show_repair(repair, output)


@app.command()
def token(
    context: typer.Context,
    name: Cluster,
    node: Node,
    *,
    out: SecretOut = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a one-time token for a node whose certificates were revoked.

    With it the node gets what it held, with new keys, each once, while the window is open. Its secret is shown this
    once.
    """
    if out is not None:
        refuse_existing(out)
    with connect(context) as trivet:
        made = trivet.repairs.token(name, open_window(trivet, name), node)
    profiles = ", ".join(sorted(one["profile"] for one in made["identities"]))
    told = f"one-time token {made['id']} for {node}, until {made['expiresAt']}: {profiles}"
    hand_out(made, told, out, output)


@app.command()
def abandon(context: typer.Context, name: Cluster, node: Node) -> None:
    """Give up a node that was removed: nobody waits for what it held. Nothing is revoked."""
    with connect(context) as trivet:
        given_up = trivet.upkeep.abandon(name, node)
    note(f"given up: {given_up['identities']} identities of {node}")


@app.command(name="take-back")
def take_back(context: typer.Context, name: Cluster, node: Node) -> None:
    """Wait for a node again that was given up."""
    with connect(context) as trivet:
        trivet.upkeep.take_back(name, node)
    note(f"waited for again: {node}")
