"""`trivet signer`: the external signer of a living cluster."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trivet import __version__
from trivet.bootstrap.clock import now
from trivet.cli.agent import address_of, publisher
from trivet.cli.connection import ClusterOption, access_token, client_settings, cluster_name
from trivet.cli.exits import CommandError, ExitCode
from trivet.client.errors import LocalError
from trivet.pki.kubernetes import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trivet.client import Endpoint
    from trivet.pki.profiles import Profile
    from trivet.settings import ClientSettings
    from trivet.signer.runner import Signer

_BY_SIGNER = {profile.signer_name: profile for profile in PROFILES.values() if profile.signer_name}


def signer(
    context: typer.Context,
    kubeconfig: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="How to reach the cluster's API server.", envvar="TRIVET_SIGNER_KUBECONFIG"
        ),
    ],
    cluster: ClusterOption = None,
    signer_name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=PROFILE]",
            help="Sign for this signerName, one of Kubernetes' own or by a profile that has one; may be repeated. "
            f"Else: {', '.join(_BY_SIGNER)}.",
        ),
    ] = None,
    *,
    mirror: Annotated[
        bool, typer.Option("--mirror/--no-mirror", help="Mirror the cluster's RenewRevocations into Trivet.")
    ] = True,
    sign: Annotated[bool, typer.Option("--sign/--no-sign", help="Sign CertificateSigningRequests.")] = True,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end.")] = False,
    metrics_listen: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Metrics on a port, of the loopback unless an address is named.",
            envvar="TRIVET_SIGNER_METRICS_LISTEN",
        ),
    ] = None,
) -> None:
    """Sign what a living cluster approves, and mirror its RenewRevocations into Trivet.

    It never approves anything. It asks Trivet with an access token of the role signer; several may run at once. SIGTERM
    ends it at a safe point. Logs are JSON, on stdout.
    """
    settings = client_settings(context, cluster=cluster)
    name = cluster_name(context, cluster)
    profiles = _profiles(signer_name) if sign else {}
    if settings.certificate_file is not None:
        message = "the signer asks with an access token of the role signer; a certificate has no such role"
        raise CommandError(message, ExitCode.USAGE)
    if not sign and not mirror:
        message = "--no-sign and --no-mirror leave nothing to do"
        raise CommandError(message, ExitCode.USAGE)
    address = address_of(metrics_listen) if metrics_listen is not None else None
    with ExitStack() as stack:
        publish = publisher(stack, None, address)
        signs = _composed(settings, kubeconfig, name, profiles, publish, mirrors=mirror)
        signs.signals.listen()
        if not once:
            signs.run()
        elif not signs.run_once():
            raise typer.Exit(ExitCode.REFUSED)


def _profiles(named: list[str] | None) -> dict[str, Profile]:
    if not named:
        return dict(_BY_SIGNER)
    found = {}
    for text in named:
        name, _, wanted = text.partition("=")
        profile = PROFILES.get(wanted) if wanted else _BY_SIGNER.get(name)
        if profile is None or profile.signer_name is None:
            choices = ", ".join(profile.name for profile in _BY_SIGNER.values())
            message = (
                f"--signer-name {text}: give a name of Kubernetes' own, or NAME=PROFILE with one of {choices}"
            )
            raise CommandError(message, ExitCode.USAGE)
        if name in _BY_SIGNER and profile is not _BY_SIGNER[name]:
            message = f"--signer-name {text}: {name} is for the profile {_BY_SIGNER[name].name}"
            raise CommandError(message, ExitCode.USAGE)
        found[name] = profile
    return found


def _endpoint(settings: ClientSettings) -> Callable[[], Endpoint]:
    from trivet.client import Endpoint

    def endpoint() -> Endpoint:
        # Anew each time: the file of a Secret changes when the token does.
        try:
            return Endpoint(settings.url, settings.ca_file, access_token(settings))
        except CommandError as error:
            raise LocalError(str(error)) from error

    return endpoint


def _composed(
    settings: ClientSettings,
    kubeconfig: Path,
    name: str,
    profiles: Mapping[str, Profile],
    publish: Callable[[str], None],
    *,
    mirrors: bool,
) -> Signer:
    from trivet.agent.journal import Journal
    from trivet.signer.composition import compose

    if not kubeconfig.is_file():
        message = f"--kubeconfig: there is no file {kubeconfig}"
        raise CommandError(message)
    about = {"cluster": name, "version": __version__}
    journal = Journal("trivet-signer", sys.stdout, now)
    return compose(_endpoint(settings), kubeconfig, profiles, journal, about, publish, mirrors=mirrors)
