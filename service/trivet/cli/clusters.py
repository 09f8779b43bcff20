"""`trivet cluster`: make, take over and look at clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import connect
from trivet.cli.files import explained
from trivet.cli.output import Format, Output, show_document, show_list, show_object
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.pki.roots import RootAlgorithm

if TYPE_CHECKING:
    from trivet.client.schemas import ImportedRootPair

app = typer.Typer(name="cluster", help="Make, take over and look at clusters.", no_args_is_help=True)

_FIELDS: Final = {
    "Name": "name",
    "Endpoint": "endpoint",
    "Service CIDR": "serviceCidr",
    "DNS domain": "dnsDomain",
    "Created": "createdAt",
}
_COLUMNS: Final = {label.upper(): member for label, member in _FIELDS.items()}
_GENERATIONS: Final = {
    "AUTHORITY": "authority",
    "STATE": "state",
    "SUBJECT": "subject",
    "KEY": "keyAlgorithm",
    "NOT AFTER": "notAfter",
    "SHA-256": "sha256",
}
# kubeadm's certlist.go: where it keeps its three CAs below /etc/kubernetes/pki.
_KUBEADM_FILES: Final = {
    AuthorityName.CLUSTER: "ca",
    AuthorityName.ETCD: "etcd/ca",
    AuthorityName.FRONT_PROXY: "front-proxy-ca",
}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The cluster's name.")]
Endpoint = Annotated[
    str, typer.Option(metavar="HOST", help="Host name or address of the control plane, without port.")
]
ServiceCidr = Annotated[
    str | None, typer.Option("--service-cidr", metavar="CIDR", help="The Services' addresses [10.96.0.0/12].")
]
DnsDomain = Annotated[
    str | None, typer.Option("--dns-domain", metavar="NAME", help="The cluster's DNS domain [cluster.local].")
]


@app.command()
def create(
    context: typer.Context,
    name: Name,
    endpoint: Endpoint,
    service_cidr: ServiceCidr = None,
    dns_domain: DnsDomain = None,
    algorithm: Annotated[RootAlgorithm, typer.Option(help="Of the authorities' keys.")] = RootAlgorithm.P384,
    output: Output = Format.TABLE,
) -> None:
    """Make a cluster with its three authorities."""
    with connect(context) as trivet:
        made = trivet.clusters.create(
            name, endpoint, service_cidr=service_cidr, dns_domain=dns_domain, algorithm=algorithm.value
        )
    show_object(made, output, _FIELDS)


@app.command(name="import")
def import_cluster(
    context: typer.Context,
    name: Name,
    directory: Annotated[Path, typer.Argument(help="A copy of /etc/kubernetes/pki.")],
    endpoint: Endpoint,
    service_cidr: ServiceCidr = None,
    dns_domain: DnsDomain = None,
    output: Output = Format.TABLE,
) -> None:
    """Take over a running cluster with the authorities of its kubeadm pki folder.

    Reads ca.crt, ca.key, etcd/ca.crt, etcd/ca.key, front-proxy-ca.crt and front-proxy-ca.key.
    """
    roots = {authority.value: _root(directory / file) for authority, file in _KUBEADM_FILES.items()}
    with connect(context) as trivet:
        made = trivet.clusters.create(
            name, endpoint, service_cidr=service_cidr, dns_domain=dns_domain, roots=roots
        )
    show_object(made, output, _FIELDS)


def _root(stem: Path) -> ImportedRootPair:
    texts = []
    for suffix in (".crt", ".key"):
        file = stem.with_name(stem.name + suffix)
        with explained(file, "read"):
            texts.append(file.read_text(encoding="utf-8", errors="replace"))
    return {"certificate": texts[0], "privateKey": texts[1]}


@app.command(name="list")
def list_clusters(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the clusters."""
    with connect(context) as trivet:
        show_list(trivet.clusters.list(), output, _COLUMNS)


@app.command()
def show(context: typer.Context, name: Name, output: Output = Format.TABLE) -> None:
    """Show a cluster and its authorities."""
    with connect(context) as trivet:
        cluster, generations = trivet.clusters.get(name), trivet.clusters.authorities(name)
    if output is not Format.TABLE:
        show_document({**cluster, "authorities": list(generations)}, output)
        return
    show_object(cluster, output, _FIELDS)
    typer.echo()
    show_list(generations, output, _GENERATIONS)


@app.command()
def ca(
    context: typer.Context,
    name: Name,
    *,
    authority: Annotated[AuthorityName, typer.Option(help="Which of the three.")] = AuthorityName.CLUSTER,
    bundle: Annotated[bool, typer.Option("--bundle", help="All generations that are to be trusted.")] = False,
) -> None:
    """Print an authority's certificate as PEM: for ca.crt, etcd/ca.crt or front-proxy-ca.crt."""
    if authority not in CLUSTER_AUTHORITIES:
        message = f"a cluster has the authorities {', '.join(CLUSTER_AUTHORITIES)}"
        raise typer.BadParameter(message)
    with connect(context) as trivet:
        read = trivet.clusters.bundle if bundle else trivet.clusters.ca_certificate
        typer.echo(read(name, authority.value), nl=False)
