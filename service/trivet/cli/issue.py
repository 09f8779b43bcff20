"""`trivet issue` and `trivet sign`: get a certificate, with a new key or for a CSR that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from trivet.bootstrap.files import PRIVATE
from trivet.cli.connection import ClusterOption, cluster_name, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import StagedFile, read_file, refuse_existing, write_public
from trivet.cli.output import Format, Output, note, show_document, show_object
from trivet.cli.spans import ExpiresIn
from trivet.pki.keys import KeyAlgorithm

ISSUED: Final = {
    "Serial number": "serialNumber",
    "Profile": "profile",
    "Subject": "subject",
    "DNS names": "dnsNames",
    "IP addresses": "ipAddresses",
    "Not before": "notBefore",
    "Not after": "notAfter",
}

Profile = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="What kind of certificate, as kubelet-client.")
]
Node = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The node that it is for, where the profile names one.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]


def issue(
    context: typer.Context,
    profile: Profile,
    *,
    node: Node = None,
    dns: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A DNS name; may be repeated.")
    ] = None,
    ip: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="An IP address; may be repeated.")
    ] = None,
    cn: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The common name, where the profile leaves it open.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An organization; may be repeated.")
    ] = None,
    key_type: Annotated[
        KeyAlgorithm, typer.Option(help="Of the new key; RSA has 4096 bits.")
    ] = KeyAlgorithm.P384,
    expires_in: ExpiresIn = None,
    cluster: ClusterOption = None,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", metavar="FOLDER", help="Where the files go.")
    ] = Path(),
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the files, without .crt and .key.")
    ] = None,
    force: Force = False,
    output: Output = Format.TABLE,
) -> None:
    """Make a key and a CSR, and get a certificate.

    The key does not leave this machine. Writes NAME.crt and NAME.key (mode 0600).
    """
    from trivet.client.keys import build_request, key_pem, new_key

    stem = name or (f"{profile}-{node}" if node else profile)
    certificate_path, key_path = directory / f"{stem}.crt", directory / f"{stem}.key"
    if not force:
        refuse_existing(certificate_path, key_path)
    key = new_key(key_type)
    try:
        csr = build_request(key, common_name=cn, organizations=group or (), hosts=[*(dns or ()), *(ip or ())])
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    # On the disk before the certificate is asked for: what was issued must not be lost for want of space.
    staged = StagedFile(key_path, key_pem(key), PRIVATE)
    try:
        with connect(context) as trivet:
            issued = trivet.certificates.issue(
                cluster_name(context, cluster), profile, csr, node=node, expiration_seconds=expires_in
            )
        write_public(certificate_path, issued["certificate"].encode(), force=force)
        staged.commit()
    except BaseException:
        staged.discard()
        raise
    show_object(issued, output, ISSUED)
    note(f"written: {certificate_path} and {key_path}")


def sign(
    context: typer.Context,
    csr: Annotated[
        Path, typer.Argument(metavar="CSR", help="A certificate request, PEM or DER; - for stdin.")
    ],
    profile: Profile,
    *,
    node: Node = None,
    expires_in: ExpiresIn = None,
    cluster: ClusterOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file for the certificate; else it is printed.")
    ] = None,
    force: Force = False,
    output: Annotated[
        Format | None, typer.Option("--output", "-o", help="How to show it; without, the certificate as PEM.")
    ] = None,
) -> None:
    """Get a certificate for a CSR made elsewhere."""
    if out is not None and not force:
        refuse_existing(out)
    request = read_file(csr)
    with connect(context) as trivet:
        issued = trivet.certificates.issue(
            cluster_name(context, cluster), profile, request, node=node, expiration_seconds=expires_in
        )
    if out is not None:
        write_public(out, issued["certificate"].encode(), force=force)
        note(f"written: {out}")
    if output is Format.TABLE:
        show_object(issued, output, ISSUED)
    elif output is not None:
        show_document(issued, output)
    elif out is None:
        typer.echo(issued["certificate"], nl=False)
