"""From flags and settings to a client."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trivet.bootstrap.files import read_secret
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.settings import ClientSettings, ServerSettings, SettingsFile, find_settings_file

if TYPE_CHECKING:
    from trivet.client import Client

ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", "-c", metavar="NAME", help="The cluster; else the one that the settings name."),
]
AllClusters = Annotated[bool, typer.Option("--all-clusters", help="Not one cluster, but all of them.")]


@dataclass(frozen=True, slots=True)
class Flags:
    """What was given before the command; stronger than environment and file."""

    url: str | None = None
    ca_file: Path | None = None
    token_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    config: Path | None = None


def settings_file(context: typer.Context) -> SettingsFile | None:
    """The settings file that holds for this command."""
    return find_settings_file(_flags(context).config)


def server_settings(context: typer.Context, **flags: object) -> ServerSettings:
    """The settings of the service."""
    return ServerSettings.load(settings_file(context), **flags)


def client_settings(context: typer.Context, **flags: object) -> ClientSettings:
    """The settings of the client."""
    given = asdict(_flags(context))
    del given["config"]
    return ClientSettings.load(settings_file(context), **given, **flags)


def _flags(context: typer.Context) -> Flags:
    return context.find_object(Flags) or Flags()


def access_token(settings: ClientSettings) -> str | None:
    """The token, read from its file where the settings name one.

    Raises:
        CommandError: the file cannot be read.
    """
    if settings.token is not None:
        return settings.token.get_secret_value()
    if settings.token_file is None:
        return None
    with explained(settings.token_file, "read"):
        return read_secret(settings.token_file)


def connect(context: typer.Context) -> Client:
    """A client for this command, with the token or client certificate of the settings."""
    from trivet.client import Client, Endpoint

    settings = client_settings(context)
    return Client(
        Endpoint(
            url=settings.url,
            ca_file=settings.ca_file,
            token=access_token(settings),
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
        )
    )


def connect_as(context: typer.Context, certificate: Path | None, key: Path | None) -> Client:
    """A client that shows a certificate, or nothing, in place of what the settings name."""
    from trivet.client import Client, Endpoint

    settings = client_settings(context)
    return Client(Endpoint(settings.url, settings.ca_file, None, certificate, key))


def cluster_name(context: typer.Context, named: str | None) -> str:
    """The cluster that is meant.

    Raises:
        CommandError: none is named, here or in the settings.
    """
    name = client_settings(context, cluster=named).cluster
    if name is None:
        message = (
            "which cluster? name it with --cluster, TRIVET_CLUSTER, or cluster in [client] of the settings"
        )
        raise CommandError(message, ExitCode.USAGE)
    return name


def scope_name(context: typer.Context, named: str | None, *, all_clusters: bool) -> str | None:
    """The cluster that is meant, or None for all clusters.

    Raises:
        CommandError: both are given, or neither.
    """
    if all_clusters and named is not None:
        message = "give --cluster or --all-clusters, not both"
        raise CommandError(message, ExitCode.USAGE)
    return None if all_clusters else cluster_name(context, named)
