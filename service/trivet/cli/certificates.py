"""`trivet certificates`: find certificates, and ask why they were or were not issued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.output import Format, Output, show_list, show_object

if TYPE_CHECKING:
    from trivet.client.schemas import Decision

app = typer.Typer(name="certificates", help="Find certificates, and ask why.", no_args_is_help=True)

_COLUMNS: Final = {
    "SERIAL NUMBER": "serialNumber",
    "PROFILE": "profile",
    "NODE": "node",
    "CN": "commonName",
    "STATUS": "status",
    "NOT AFTER": "notAfter",
}
_FIELDS: Final = {
    "Serial number": "serialNumber",
    "Status": "status",
    "Revoked": "revokedAt",
    "Replaced": "supersededAt",
    "Cluster": "cluster",
    "Authority": "authority",
    "Profile": "profile",
    "Node": "node",
    "Subject": "subject",
    "DNS names": "dnsNames",
    "IP addresses": "ipAddresses",
    "Issued": "issuedAt",
    "Not before": "notBefore",
    "Not after": "notAfter",
    "Requester": "requester",
    "Decision": "decision",
}
_DECISION: Final = {
    "Decision": "id",
    "Verdict": "verdict",
    "Reason": "reason",
    "Detail": "detail",
    "Decided": "decidedAt",
    "Requester": "requester",
    "Action": "action",
    "Profile": "profile",
    "Serial number": "serialNumber",
    "Renewed from": "parentSerialNumber",
    "Request (SHA-256)": "requestSha256",
    "Version of the cluster's revocations": "clusterVersion",
    "Version of those for all clusters": "globalVersion",
    "Request id": "requestId",
}
_CONSIDERED: Final = {
    "MATCHED": "matched",
    "KIND": "kind",
    "VALUE": "value",
    "NOT BEFORE": "notBefore",
    "REVOCATION": "revocation",
}

Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="The serial number, hexadecimal.")]


@app.command(name="list")
def list_certificates(
    context: typer.Context,
    cluster: ClusterOption = None,
    serial: Annotated[str | None, typer.Option(metavar="TEXT", help="With this serial number.")] = None,
    cn: Annotated[str | None, typer.Option(metavar="TEXT", help="With this common name.")] = None,
    group: Annotated[str | None, typer.Option(metavar="TEXT", help="With this organization.")] = None,
    dns: Annotated[str | None, typer.Option(metavar="TEXT", help="With this DNS name.")] = None,
    dns_suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With a DNS name below this one.")
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With this address, or one of this CIDR range.")
    ] = None,
    profile: Annotated[str | None, typer.Option(metavar="TEXT", help="Of this profile.")] = None,
    authority: Annotated[str | None, typer.Option(metavar="TEXT", help="Of this authority.")] = None,
    status: Annotated[str | None, typer.Option(metavar="TEXT", help="valid, revoked or expired.")] = None,
    not_after_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="That end before this time (RFC 3339).")
    ] = None,
    issued_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Issued after this time (RFC 3339).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="At most so many.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Find certificates; all conditions must hold."""
    filters = {
        "serial": serial,
        "cn": cn,
        "group": group,
        "dns": dns,
        "dnsSuffix": dns_suffix,
        "ip": ip,
        "profile": profile,
        "authority": authority,
        "status": status,
        "notAfterBefore": not_after_before,
        "issuedAfter": issued_after,
    }
    with connect(context) as trivet:
        found = trivet.certificates.list(cluster_name(context, cluster), limit=limit, **filters)
        show_list(found, output, _COLUMNS)


@app.command()
def show(
    context: typer.Context,
    serial: Serial,
    *,
    cluster: ClusterOption = None,
    pem: Annotated[bool, typer.Option("--pem", help="Only the certificate itself.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show a certificate."""
    with connect(context) as trivet:
        found = trivet.certificates.get(cluster_name(context, cluster), serial)
    if pem:
        typer.echo(found["certificate"], nl=False)
    else:
        show_object(found, output, _FIELDS)


@app.command()
def explain(
    context: typer.Context,
    serial: Annotated[str | None, typer.Argument(help="The serial number of a certificate.")] = None,
    decision: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Or the id of a decision, as a refusal names it.")
    ] = None,
    cluster: ClusterOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Explain why a certificate was issued, or a request refused."""
    with connect(context) as trivet:
        if decision is not None and serial is None:
            found = trivet.decisions.get(decision)
        elif serial is not None and decision is None:
            found = trivet.certificates.decision(cluster_name(context, cluster), serial)
        else:
            message = "give the serial number of a certificate, or --decision and its id"
            raise CommandError(message, ExitCode.USAGE)
    _show_decision(found, output)


def _show_decision(decision: Decision, output: Format) -> None:
    show_object(decision, output, _DECISION)
    if output is not Format.TABLE:
        return
    typer.echo()
    if decision["considered"]:
        typer.echo("Revocation entries that were considered:")
        show_list(decision["considered"], output, _CONSIDERED)
    else:
        typer.echo("No revocation entry came into question.")
