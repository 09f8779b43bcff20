"""`trivet init`: make an installation that is ready to serve, and show the first steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trivet.cli.output import note
from trivet.cli.steps import show_first_steps
from trivet.pki.names import parse_cluster_name
from trivet.settings import ClientSettings, SettingsFile
from trivet.settings.file import DEFAULT_DIRECTORY
from trivet.settings.server import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    base_url,
    service_url,
    usual_names,
    usual_publication,
)

if TYPE_CHECKING:
    from trivet.bootstrap.initialise import Installation


def _cluster_name(text: str) -> str:
    try:
        return parse_cluster_name(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _base_url(text: str | None) -> str | None:
    try:
        return None if text is None else base_url(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--pki-base-url") from error


def init(
    *,
    directory: Annotated[
        Path, typer.Option(help="Where keys, database and settings go.", metavar="FOLDER")
    ] = DEFAULT_DIRECTORY,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on [127.0.0.1].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="The port to listen on [8443].")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name or address of the service; may be repeated."),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="The port for /pki over plain HTTP [8480 beside 8443]; 0 for none.",
        ),
    ] = None,
    pki_base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="What stands before /pki in certificates [on a loopback address, that port there].",
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://… in place of SQLite.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(parser=_cluster_name, metavar="NAME", help="A first cluster.")
    ] = "demo",
    no_cluster: Annotated[bool, typer.Option("--no-cluster", help="Make no first cluster.")] = False,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Make no access token; another `trivet init` makes one.")
    ] = False,
) -> None:
    """Set up keys, database and settings; or find them again.

    Also makes an administrator's token and a first cluster. What is there is never written over, so this may
    be run again and again. Then shows the first steps.
    """
    from trivet.bootstrap.initialise import initialise
    from trivet.bootstrap.layout import Choices

    names = [*usual_names(host or DEFAULT_HOST), *name] if name else None
    chosen = {
        "database_url": database_url,
        "host": host,
        "port": port,
        "names": names,
        "http_port": http_port or None,
        "pki_base_url": _base_url(pki_base_url),
    }
    server: dict[str, object] = {key: value for key, value in chosen.items() if value is not None}
    url = service_url(host or DEFAULT_HOST, port or DEFAULT_PORT, tls=True)
    made = usual_publication(host or DEFAULT_HOST, port or DEFAULT_PORT, http_port) | server
    found = initialise(Choices(directory, url, made, None if no_cluster else cluster, not no_token))
    _show(found, directory, decides=bool(server) and not found.has_new_settings)


def _show(found: Installation, directory: Path, *, decides: bool) -> None:
    """Say what was made and what was found; `decides`: the settings that were there, not those that were given now."""
    is_new = bool(found.made)
    typer.echo("Trivet is set up:" if is_new else f"Trivet was set up before, in {directory}.")
    for line in found.made:
        typer.echo(f"  {line}")
    if decides:
        note(f"The settings file was there already and decides: {found.layout.settings}")
    for warning in found.warnings:
        note(f"Warning: {warning}")
    settings = ClientSettings.load(SettingsFile.read(found.layout.settings))
    show_first_steps(settings, found.layout, briefly=not is_new)
