"""`trivet requests`: certificate requests that a rule or an approver approves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import read_file, refuse_existing, write_public
from trivet.cli.issue import Force, Node, Profile
from trivet.cli.output import Format, Output, note, show_document, show_list, show_object
from trivet.cli.spans import ExpiresIn, parse_seconds

if TYPE_CHECKING:
    from trivet.client.request_schemas import CertificateRequest

app = typer.Typer(
    name="requests", help="Submit, look at, approve and deny certificate requests.", no_args_is_help=True
)

_COLUMNS: Final = {
    "NAME": "name",
    "STATE": "state",
    "PROFILE": "profile",
    "NODE": "node",
    "FROM": "username",
    "CREATED": "createdAt",
    "REASON": "reason",
}
_FIELDS: Final = {
    "Name": "name",
    "State": "state",
    "Reason": "reason",
    "Profile": "profile",
    "Node": "node",
    "From": "username",
    "CN": "commonName",
    "O": "organizations",
    "DNS names": "dnsNames",
    "IP addresses": "ipAddresses",
    "Key (SHA-256)": "publicKeySha256",
    "Submitted": "createdAt",
    "Decided": "decidedAt",
    "By": "decidedBy",
    "Certificate": "serialNumber",
    "Removed at": "collectAt",
}

_PATIENCE: Final = 900  # seconds, as the kubelet waits for its certificate

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the request.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for whoever looks at it later.")]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file for the certificate, once there is one.")
]
Wait = Annotated[
    int | None, typer.Option(parser=parse_seconds, metavar="SPAN", help="How long to wait for a decision.")
]


@app.command(name="list")
def list_requests(
    context: typer.Context,
    *,
    state: Annotated[
        str | None, typer.Option(metavar="TEXT", help="pending, approved, issued, denied or failed.")
    ] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Of this profile.")] = None,
    node: Annotated[str | None, typer.Option(metavar="TEXT", help="For this node.")] = None,
    username: Annotated[
        str | None, typer.Option("--from", metavar="TEXT", help="From this user, as the column FROM has it.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The most to show.")] = None,
    cluster: ClusterOption = None,
    output: Output = Format.TABLE,
) -> None:
    """List certificate requests, newest first."""
    filters = {"state": state, "profile": profile, "node": node, "username": username}
    with connect(context) as trivet:
        found = trivet.requests.list(cluster_name(context, cluster), limit=limit, **filters)
        show_list(found, output, _COLUMNS)


@app.command()
def show(
    context: typer.Context, name: Name, *, cluster: ClusterOption = None, output: Output = Format.TABLE
) -> None:
    """Show a certificate request, and each step that it took."""
    with connect(context) as trivet:
        found = trivet.requests.get(cluster_name(context, cluster), name)
    show_object(found, output, _FIELDS)
    if output is Format.TABLE and found["conditions"]:
        typer.echo()
        columns = {"STEP": "type", "AT": "lastTransitionTime", "BY": "by", "MESSAGE": "message"}
        show_list(found["conditions"], output, columns)


@app.command()
def approve(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason = None,
    cluster: ClusterOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Approve a certificate request, and have its certificate issued.

    Where issuing is refused all the same (an entry names it, say) the request is failed, and the exit code is 1.
    """
    with connect(context) as trivet:
        found = trivet.requests.approve(cluster_name(context, cluster), name, reason)
    show_object(found, output, _FIELDS)
    _refuse_failed(found)


@app.command()
def deny(context: typer.Context, name: Name, *, reason: Reason = None, cluster: ClusterOption = None) -> None:
    """Deny a certificate request for good."""
    with connect(context) as trivet:
        trivet.requests.deny(cluster_name(context, cluster), name, reason)
    note(f"denied: {name}")


@app.command()
def submit(
    context: typer.Context,
    csr: Annotated[
        Path, typer.Argument(metavar="CSR", help="A certificate request, PEM or DER; - for stdin.")
    ],
    profile: Profile,
    *,
    node: Node = None,
    expires_in: ExpiresIn = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the request; else one is made up.")
    ] = None,
    wait: Wait = None,
    cluster: ClusterOption = None,
    out: Out = None,
    force: Force = False,
    output: Output = Format.TABLE,
) -> None:
    """Submit a certificate request. What a rule approves is issued at once; all else waits for an approver."""
    if out is not None and not force:
        refuse_existing(out)
    request = read_file(csr)
    with connect(context) as trivet:
        named = cluster_name(context, cluster)
        found = trivet.requests.submit(
            named, profile, request, node=node, name=name, expiration_seconds=expires_in
        )
        if wait:
            found = trivet.requests.wait(named, found["name"], wait)
    _finish(found, out, output, force=force)


@app.command()
def wait(
    context: typer.Context,
    name: Name,
    *,
    wait_for: Annotated[
        int | None,
        typer.Option("--for", parser=parse_seconds, metavar="SPAN", help="How long at most; else 15m."),
    ] = None,
    cluster: ClusterOption = None,
    out: Out = None,
    force: Force = False,
    output: Output = Format.TABLE,
) -> None:
    """Wait until a certificate request is decided."""
    if out is not None and not force:
        refuse_existing(out)
    with connect(context) as trivet:
        found = trivet.requests.wait(cluster_name(context, cluster), name, wait_for or _PATIENCE)
    _finish(found, out, output, force=force)
    if found["state"] in {"pending", "approved"}:
        message = f"the request {name} is still {found['state']}: {found['reason']}"
        raise CommandError(message, ExitCode.UNAVAILABLE)


def _finish(found: CertificateRequest, out: Path | None, output: Format, *, force: bool) -> None:
    if found["certificate"] is not None and out is not None:
        write_public(out, found["certificate"].encode(), force=force)
    if output is Format.TABLE:
        show_object(found, output, _FIELDS)
    else:
        show_document(found, output)
    if found["certificate"] is not None and out is not None:
        note(f"written: {out}")
    elif found["state"] == "pending":
        note(f"it waits for an approver: trivet requests approve {found['name']}")
    _refuse_failed(found)


def _refuse_failed(found: CertificateRequest) -> None:
    if found["state"] in {"denied", "failed"}:
        message = f"the request {found['name']} is {found['state']}: {found['reason']}"
        raise CommandError(message, ExitCode.REFUSED)


@app.command()
def delete(context: typer.Context, name: Name, *, cluster: ClusterOption = None) -> None:
    """Remove a certificate request; a certificate that was issued for it stays."""
    with connect(context) as trivet:
        trivet.requests.delete(cluster_name(context, cluster), name)
    note(f"deleted: {name}")
