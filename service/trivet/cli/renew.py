"""`trivet renew`: a new key and certificate in the place of a pair that is there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import PRIVATE, PUBLIC
from trivet.cli.connection import ClusterOption, cluster_name, connect_as
from trivet.cli.exits import CommandError
from trivet.cli.files import StagedFile, read_certificate, read_file, read_key, replace_pair
from trivet.cli.issue import ISSUED
from trivet.cli.output import Format, Output, note, show_object
from trivet.cli.spans import ExpiresIn
from trivet.pki.keys import KeyAlgorithm, key_algorithm, spki

if TYPE_CHECKING:
    from trivet.client.keys import PrivateKey
    from trivet.client.schemas import Certificate


def renew(
    context: typer.Context,
    certificate: Annotated[Path, typer.Option("--certificate", metavar="FILE", help="The certificate, PEM.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Its key; else beside it, ending in .key.")
    ] = None,
    *,
    message: Annotated[
        bool, typer.Option("--message", help="By a signed message: for where a proxy ends TLS.")
    ] = False,
    key_type: Annotated[KeyAlgorithm | None, typer.Option(help="Of the new key; else as before.")] = None,
    expires_in: ExpiresIn = None,
    cluster: ClusterOption = None,
    output: Output = Format.TABLE,
) -> None:
    """Renew a certificate, and its key.

    By proof of the current key; both files are replaced. The names and the profile stay. A token is neither
    needed nor of use.
    """
    from trivet.client.keys import build_request, key_pem, new_key

    key_path = key or certificate.with_suffix(".key")
    former = _pair(certificate, key_path)
    fresh = new_key(key_type or key_algorithm(former.public_key()) or KeyAlgorithm.P384)
    request = build_request(fresh)
    name = cluster_name(context, cluster)
    # On the disk before the renewal is asked for: what was issued must not be lost for want of space.
    staged_key = StagedFile(key_path, key_pem(fresh), PRIVATE)
    try:
        if message:
            renewed = _by_message(context, name, certificate, former, request, expires_in)
        else:
            with connect_as(context, certificate, key_path) as trivet:
                renewed = trivet.certificates.renew(name, request, expiration_seconds=expires_in)
        staged_certificate = StagedFile(certificate, renewed["certificate"].encode(), PUBLIC)
        replace_pair(staged_certificate, staged_key, read_file(key_path))
    except BaseException:
        staged_key.discard()
        raise
    show_object(renewed, output, ISSUED)
    note(f"replaced: {certificate} and {key_path}")


def _pair(certificate: Path, key: Path) -> PrivateKey:
    """The key of the pair, which must be the certificate's."""
    former = read_key(key)
    if spki(former.public_key()) != spki(read_certificate(certificate).public_key()):
        message = (
            f"the key in {key} does not belong to the certificate in {certificate}; name another with --key"
        )
        raise CommandError(message)
    return former


def _by_message(
    context: typer.Context,
    cluster: str,
    certificate: Path,
    key: PrivateKey,
    request: bytes,
    seconds: int | None,
) -> Certificate:
    from trivet.pki.possession import sign_renewal_message

    lifetime = timedelta(seconds=seconds) if seconds is not None else None
    signed = sign_renewal_message(key, read_certificate(certificate), request, cluster, now(), lifetime)
    with connect_as(context, None, None) as trivet:
        return trivet.certificates.renew_by_message(cluster, signed)
