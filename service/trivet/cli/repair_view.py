"""How a repair is shown: what changes while it goes on, and what bars the way."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import typer

from trivet.bootstrap.clock import now
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.output import Format, note, printable, show_document, show_list
from trivet.client.errors import UnreachableError

if TYPE_CHECKING:
    from trivet.client import Client
    from trivet.client.repair_schemas import Repair

_GLANCE_SECONDS: Final = 2.0
_GRACE: Final = timedelta(minutes=1)
_STAGES: Final = {
    "STAGE": "name",
    "STATE": "state",
    "FRESH": "fresh",
    "OF": "total",
    "BEGAN": "beganAt",
    "OVER": "endedAt",
}
_PENDING: Final = {
    "STAGE": "stage",
    "NODE": "node",
    "PROFILE": "profile",
    "STATE": "state",
    "EXPIRED": "notAfter",
    "HEARD": "heardAt",
}


def show_repair(repair: Repair, output: Format) -> None:
    """Show how a repair stands."""
    if output is not Format.TABLE:
        show_document(repair, output)
        return
    where = f" {repair['id']}, until {repair['endsAt']}" if repair["id"] else ""
    typer.echo(
        f"{repair['cluster']}: {repair['state']}{where}; fresh: {repair['fresh']} of {repair['total']}"
    )
    show_list(repair["stages"], output, _STAGES)
    if repair["pending"]:
        typer.echo()
        show_list(repair["pending"], output, _PENDING)
    typer.echo()
    show_bars(repair)


def show_bars(repair: Repair) -> None:
    """Tell what bars the way."""
    for warning in repair["warnings"]:
        note(f"Note: {printable(warning)}")
    if not repair["bars"]:
        typer.echo(_all_clear(repair))
        return
    typer.echo("What bars the way:")
    for bar in repair["bars"]:
        noun = "identity" if bar["identities"] == 1 else "identities"
        typer.echo(f"- {bar['identities']} {noun}: {printable(bar['detail'])}")
        if bar["command"]:
            typer.echo(f"    {printable(bar['command'])}")


def _all_clear(repair: Repair) -> str:
    if repair["total"] == 0:
        return "The cluster holds no certificate that is kept, so there is nothing to renew."
    return "Every identity is fresh." if is_done(repair) else "Nothing bars the way."


def is_done(repair: Repair) -> bool:
    """Whether every identity is fresh."""
    return repair["fresh"] >= repair["total"]


def follow(trivet: Client, repair: Repair) -> Repair:
    """Tell what changes, until every identity is fresh or the window is over; give how it stands then."""
    cluster, number = repair["cluster"], repair["id"] or ""
    told = ""
    try:
        while True:
            line = _line(repair)
            if line != told:
                note(f"{now():%H:%M:%S}  {line}")
                told = line
            if repair["state"] != "open" or is_done(repair):
                return repair
            time.sleep(_GLANCE_SECONDS)
            repair = _again(trivet, cluster, number, repair)
    except KeyboardInterrupt:
        note(
            f"the window stays open until {repair['endsAt']}; follow it with: trivet repair status {cluster} --watch"
        )
        raise


def _again(trivet: Client, cluster: str, number: str, last: Repair) -> Repair:
    try:
        return trivet.repairs.get(cluster, number)
    except UnreachableError as error:
        if now() > datetime.fromisoformat(last["endsAt"] or "") + _GRACE:
            raise
        note(f"no answer ({printable(str(error))}); still trying")
        return last


def _line(repair: Repair) -> str:
    stages = ", ".join(
        f"{stage['name']} {stage['fresh']}/{stage['total']} ({stage['state']})" for stage in repair["stages"]
    )
    bars = sum(bar["identities"] for bar in repair["bars"])
    return f"{stages}" + (f"; barred or not heard of: {bars}" if bars else "")


def end(repair: Repair) -> None:
    """End with 0 where every identity is fresh.

    Raises:
        CommandError: some are not, or there is none.
    """
    if repair["total"] == 0:
        message = "nothing was repaired: the cluster holds no certificate that is kept"
        raise CommandError(message, ExitCode.REFUSED)
    if not is_done(repair):
        message = (
            f"{repair['total'] - repair['fresh']} of {repair['total']} identities are not fresh;"
            f" the window is {repair['state']}"
        )
        raise CommandError(message, ExitCode.REFUSED)


def open_window(trivet: Client, cluster: str) -> str:
    """The id of a cluster's open repair window.

    Raises:
        CommandError: there is none.
    """
    for window in trivet.repairs.list(cluster, 1):
        if window["state"] == "open":
            return window["id"]
    message = f"the cluster {cluster} has no open repair window; open one: trivet repair {cluster}"
    raise CommandError(message, ExitCode.NOT_FOUND)
