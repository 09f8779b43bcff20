"""`trivet cluster renew`, `budget`, `identities`: what a cluster holds, and for how long."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trivet.bootstrap.clock import now
from trivet.cli.clusters import Name, app
from trivet.cli.connection import connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.output import Format, Output, note, show_document, show_list
from trivet.cli.spans import parse_seconds, span_of

if TYPE_CHECKING:
    from trivet.client import Client
    from trivet.client.repair_schemas import EarlyRenewal, NodeBudget

__all__ = ["app"]

_GLANCE_SECONDS: Final = 5.0
_LATE: Final = {
    "NODE": "node",
    "PROFILE": "profile",
    "SERIAL NUMBER": "serialNumber",
    "NOT AFTER": "notAfter",
    "DUE SINCE": "dueSince",
}
_BUDGET: Final = {
    "NODE": "node",
    "SURVIVES": "survives",
    "UNTIL": "endsAt",
    "FIRST TO END": "profile",
    "IDENTITIES": "identities",
}
_IDENTITIES: Final = {
    "NODE": "node",
    "PROFILE": "profile",
    "SERIAL NUMBER": "serialNumber",
    "STATUS": "status",
    "NOT AFTER": "notAfter",
    "STAGE": "stage",
    "WAITED FOR": "waitedFor",
}


@app.command()
def renew(
    context: typer.Context,
    name: Name,
    *,
    over: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds,
            metavar="SPAN",
            help="Spread over so long: 30m, 2h; 0 for at once [1h].",
        ),
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", help="Ask for nothing; show how far the last one is.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Follow it until every identity is fresh; at most until an hour after its time."
        ),
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Ask a whole cluster to renew early, before it is switched off for a while.

    Agents learn of it when they next ask when to renew: within an hour.
    """
    with connect(context) as trivet:
        progress = _last(trivet, name) if status else trivet.upkeep.renew(name, over)
        while watch and progress["fresh"] < progress["total"] and now() < _last_moment(progress):
            note(f"fresh: {progress['fresh']} of {progress['total']}")
            time.sleep(_GLANCE_SECONDS)
            progress = trivet.upkeep.renewal(name, progress["id"])
    if output is not Format.TABLE:
        show_document(progress, output)
        return
    typer.echo(
        f"{name}: asked at {progress['askedAt']}, until {progress['endsAt']};"
        f" fresh: {progress['fresh']} of {progress['total']}"
    )
    if progress["late"]:
        show_list(progress["late"], output, _LATE)
    if watch and progress["late"]:
        late, total = len(progress["late"]), progress["total"]
        message = f"{late} of {total} identities have not renewed, an hour after their time"
        raise CommandError(message, ExitCode.REFUSED)


def _last_moment(progress: EarlyRenewal) -> datetime:
    """Until when it is watched: agents ask once an hour when they should renew."""
    return datetime.fromisoformat(progress["endsAt"]) + timedelta(hours=1)


def _last(trivet: Client, name: str) -> EarlyRenewal:
    last = next(trivet.upkeep.renewals(name, 1), None)
    if last is None:
        message = f"the cluster {name} was not asked to renew early"
        raise CommandError(message, ExitCode.NOT_FOUND)
    return trivet.upkeep.renewal(name, last["id"])


@app.command()
def budget(context: typer.Context, name: Name, output: Output = Format.TABLE) -> None:
    """Show how long a cluster, and each node, survives if contact with Trivet is lost now."""
    with connect(context) as trivet:
        found = trivet.upkeep.outage_budget(name)
    if output is not Format.TABLE:
        show_document(found, output)
        return
    if found["seconds"] is None:
        typer.echo(f"{name} holds nothing")
        return
    if found["seconds"] > 0:
        typer.echo(f"{name} survives {span_of(found['seconds'])}, until {found['endsAt']}")
    else:
        typer.echo(f"{name} does not survive: its first certificate ended at {found['endsAt']}")
    show_list(map(_node, found["nodes"]), output, _BUDGET)


def _node(found: NodeBudget) -> dict[str, Any]:
    return {**found, "survives": span_of(found["seconds"])}


@app.command()
def identities(
    context: typer.Context,
    name: Name,
    *,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Of this node only.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List what a cluster holds: the newest certificate of each identity, expired and revoked ones included."""
    with connect(context) as trivet:
        show_list(trivet.upkeep.identities(name, node=node), output, _IDENTITIES)
