"""`trivet kubeconfig`: files for kubectl and kubelet, for Trivet's Kubernetes API or a cluster's own API server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import ClusterOption, client_settings, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.issue import Force
from trivet.cli.kubeconfig_documents import (
    Target,
    certificate_user,
    exec_user,
    kubeconfig,
    token_user,
    write_kubeconfig,
)
from trivet.cli.output import note
from trivet.client.endpoint import refuse_clear

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    name="kubeconfig",
    help="Write kubeconfigs, for Trivet's Kubernetes API or for the cluster's own API server.",
    no_args_is_help=True,
)

KUBELET_PAIR: Final = Path("/var/lib/kubelet/pki/kubelet-client-current.pem")

Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where it goes (mode 0600).")]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The cluster's own API server; else Trivet's Kubernetes API for the cluster."
    ),
]
ServerCa = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="By whom the server is known; else what Trivet knows, embedded."),
]
Embed = Annotated[
    bool,
    typer.Option(
        "--embed",
        help="Put secrets and certificates into the file, not references to their files. Such a file is"
        " never read again by who renews.",
    ),
]
Namespace = Annotated[str | None, typer.Option(metavar="TEXT", help="The namespace where none is named.")]
Certificate = Annotated[Path | None, typer.Option(metavar="FILE", help="A client certificate, PEM.")]
Key = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Its key; else beside it, ending in .key, or in the same file."),
]


@app.command()
def admin(
    context: typer.Context,
    out: Out,
    *,
    certificate: Certificate = None,
    key: Key = None,
    server: Server = None,
    server_ca: ServerCa = None,
    namespace: Namespace = "kube-system",
    embed: Embed = False,
    cluster: ClusterOption = None,
    force: Force = False,
) -> None:
    """For an administrator: the access token of the settings at Trivet, or a client certificate.

    With --server a client certificate is needed: an API server knows no access tokens of Trivet.
    """
    if certificate is not None:
        user = certificate_user(certificate, key, embed=embed)
    elif server is not None:
        message = f"the API server {server} knows no access tokens of Trivet; give --certificate"
        raise CommandError(message, ExitCode.USAGE)
    else:
        user = _token_of_settings(context, embed=embed)
    _write(context, out, "admin", user, server, server_ca, cluster, namespace, embed=embed, force=force)


@app.command()
def bootstrap(
    context: typer.Context,
    out: Out,
    token_file: Annotated[
        Path, typer.Option("--bootstrap-token", metavar="FILE", help="Holds the bootstrap token.")
    ],
    *,
    server: Server = None,
    server_ca: ServerCa = None,
    embed: Embed = False,
    cluster: ClusterOption = None,
    force: Force = False,
) -> None:
    """For a new node: what kubelet takes as --bootstrap-kubeconfig."""
    user = token_user(token_file, embed=embed)
    _write(
        context, out, "kubelet-bootstrap", user, server, server_ca, cluster, None, embed=embed, force=force
    )


@app.command()
def node(
    context: typer.Context,
    out: Out,
    *,
    certificate: Certificate = KUBELET_PAIR,
    key: Key = None,
    exec_plugin: Annotated[
        bool,
        typer.Option(
            "--exec", help="Let `trivet kubelet-credential` give the pair, each time one is needed."
        ),
    ] = False,
    server: Server = None,
    server_ca: ServerCa = None,
    embed: Embed = False,
    cluster: ClusterOption = None,
    force: Force = False,
) -> None:
    """For a node that has its client certificate: what kubelet takes as --kubeconfig."""
    pair = certificate or KUBELET_PAIR
    if exec_plugin and embed:
        message = "give --exec or --embed, not both"
        raise CommandError(message, ExitCode.USAGE)
    if exec_plugin:
        arguments = ["kubelet-credential", "--certificate", str(pair.absolute())]
        user = exec_user(_own_command(), arguments + (["--key", str(key.absolute())] if key else []))
    else:
        user = certificate_user(pair, key, embed=embed)
    _write(context, out, "kubelet", user, server, server_ca, cluster, None, embed=embed, force=force)


def _write(
    context: typer.Context,
    out: Path,
    user_name: str,
    user: Mapping[str, object],
    server: str | None,
    server_ca: Path | None,
    cluster: str | None,
    namespace: str | None,
    *,
    embed: bool,
    force: bool,
) -> None:
    target = _target(context, cluster_name(context, cluster), server, server_ca)
    if user.keys() & {"token", "tokenFile"}:
        refuse_clear(target.server)
    content = kubeconfig(target, user_name, user, embed=embed, namespace=namespace)
    write_kubeconfig(out, content, force=force)
    note(f"written: {out}, for {target.server}")


def _target(context: typer.Context, cluster: str, server: str | None, server_ca: Path | None) -> Target:
    if server is None:
        settings = client_settings(context)
        url = f"{settings.url.rstrip('/')}/kubernetes/{cluster}"
        return Target(cluster, url, server_ca or settings.ca_file)
    if not server.startswith("https://"):
        message = f"the URL of an API server begins with https://, not {server[:100]!r}"
        raise CommandError(message, ExitCode.USAGE)
    if server_ca is not None:
        return Target(cluster, server, server_ca)
    with connect(context) as trivet:
        return Target(cluster, server, ca_pem=trivet.clusters.bundle(cluster, "cluster"))


def _token_of_settings(context: typer.Context, *, embed: bool) -> dict[str, object]:
    settings = client_settings(context)
    if settings.token_file is not None:
        return token_user(settings.token_file, embed=embed)
    if settings.certificate_file is not None:
        return certificate_user(settings.certificate_file, settings.key_file, embed=embed)
    message = "who is the administrator? name a file: --token-file or --certificate-file before the command"
    raise CommandError(message, ExitCode.USAGE)


def _own_command() -> str:
    """This command by its path: a kubelet's own path need not lead to it."""
    return shutil.which("trivet") or str(Path(sys.argv[0]).absolute())
