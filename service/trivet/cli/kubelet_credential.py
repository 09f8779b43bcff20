"""`trivet kubelet-credential`: an exec credential plugin (client.authentication.k8s.io/v1), for kubelet and kubectl.

client-go runs it when it needs a credential, and again when the one it has expires or is refused. So what the agent
(or kubelet itself) puts in its place is taken up without anybody being restarted.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import PRIVATE, PUBLIC
from trivet.cli.connection import ClusterOption, cluster_name, connect_as
from trivet.cli.exits import EXPECTED, CommandError, ExitCode, words_of
from trivet.cli.files import StagedFile, explained, read_file
from trivet.cli.kubeconfig import KUBELET_PAIR, Key
from trivet.cli.kubeconfig_documents import require_private, token_user
from trivet.cli.output import note
from trivet.pki.keys import KeyAlgorithm, key_algorithm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trivet.agent.files.pairs import KeyPair

EXEC_INFO: Final = "KUBERNETES_EXEC_INFO"
VERSION: Final = "client.authentication.k8s.io/v1"
TAKEN_UP: Final = timedelta(minutes=5)
"""After so long client-go asks again: a pair that was renewed meanwhile is used from then on."""

_RENEWED_AT: Final = 2 / 3  # of its lifetime, as the agent and kubelet do


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pair is: kubelet's in one file, kubeadm's in two."""

    certificate: Path
    key: Path

    def read(self) -> KeyPair:
        """The pair.

        Raises:
            CommandError: others can read the key, or it is none.
        """
        from trivet.agent.files import FileFaultError
        from trivet.agent.files.reading import pair_of

        require_private(self.key)
        try:
            pair = pair_of(self.certificate, self.key)
        except FileFaultError as fault:
            raise CommandError(str(fault)) from None
        if pair is None:
            message = f"there is no certificate in {self.certificate}"
            raise CommandError(message)
        return pair


def kubelet_credential(
    context: typer.Context,
    *,
    certificate: Annotated[
        Path, typer.Option(metavar="FILE", help="The client certificate, PEM.")
    ] = KUBELET_PAIR,
    key: Key = None,
    token_file: Annotated[
        Path | None, typer.Option("--token", metavar="FILE", help="A token in place of a certificate.")
    ] = None,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew", help="Renew the pair where two thirds of its life are over: for where no agent does."
        ),
    ] = False,
    cluster: ClusterOption = None,
) -> None:
    """Give kubelet or kubectl its credential: an exec plugin, to be named in a kubeconfig.

    Prints an ExecCredential with the pair that is in place, or with a token. Refuses keys that others than their
    owner can read.
    """
    _check_asked(os.environ.get(EXEC_INFO))
    if token_file is not None:
        _print(token_user(token_file, embed=True))
        return
    from trivet.cli.kubeconfig_documents import key_file_of

    place = _Place(certificate, key or key_file_of(certificate))
    pair = place.read()
    if renew and _is_due(pair, now()):
        pair = _renewed(context, place, cluster)
    _print(_status(pair, now()))


def _check_asked(text: str | None) -> None:
    """What client-go asks for; nothing where it is run by hand.

    Raises:
        CommandError: it is none, or of another version.
    """
    if text is None:
        return
    try:
        asked: Any = json.loads(text)
    except ValueError:
        asked = None
    version = asked.get("apiVersion") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or asked.get("kind") != "ExecCredential" or version != VERSION:
        message = (
            f"{EXEC_INFO} must hold an ExecCredential of {VERSION}; set apiVersion: {VERSION} under exec in the"
            " kubeconfig"
        )
        raise CommandError(message, ExitCode.USAGE)


def _status(pair: KeyPair, moment: datetime) -> dict[str, str]:
    end = pair.certificate.not_valid_after_utc
    if end <= moment:
        message = (
            f"the certificate expired at {end:%Y-%m-%dT%H:%M:%SZ}; the agent renews it in a repair"
            " (trivet repair CLUSTER), or an issuer gives the node a new one"
        )
        raise CommandError(message)
    return {
        "expirationTimestamp": f"{min(end, moment + TAKEN_UP):%Y-%m-%dT%H:%M:%SZ}",
        "clientCertificateData": pair.certificates_pem.decode(),
        "clientKeyData": pair.key_pem.decode(),
    }


def _print(status: dict[str, Any]) -> None:
    credential = {"kind": "ExecCredential", "apiVersion": VERSION, "status": status}
    sys.stdout.write(json.dumps(credential) + "\n")


def _is_due(pair: KeyPair, moment: datetime) -> bool:
    begin, end = pair.certificate.not_valid_before_utc, pair.certificate.not_valid_after_utc
    return moment >= begin + (end - begin) * _RENEWED_AT


def _renewed(context: typer.Context, place: _Place, cluster: str | None) -> KeyPair:
    """The pair that took the place of the one that is due; the one in place where that is not possible now."""
    with _alone(place.key):
        pair = place.read()
        if not _is_due(pair, now()):  # another one did meanwhile
            return pair
        try:
            _renew(context, place, pair, cluster_name(context, cluster))
        except EXPECTED as error:
            note(f"not renewed: {words_of(error)}")
        return place.read()


def _renew(context: typer.Context, place: _Place, pair: KeyPair, cluster: str) -> None:
    from trivet.cli.files import replace_pair
    from trivet.client.keys import build_request, key_pem, new_key

    fresh = new_key(key_algorithm(pair.key.public_key()) or KeyAlgorithm.P256)
    secret = key_pem(fresh)
    # By where the names lead, not by how they are spelled: one may be the link to the other.
    is_one_file = place.certificate.resolve() == place.key.resolve()
    holds_both = place.certificate.samefile(place.key)  # also under two names of their own, as hard links are
    # On the disk before it is asked for: what was issued must not be lost for want of space.
    staged_key = None if is_one_file else StagedFile(place.key, secret, PRIVATE)
    try:
        with connect_as(context, place.certificate, place.key) as trivet:
            chain = trivet.certificates.renew(cluster, build_request(fresh))["certificate"].encode()
        content, mode = (chain + secret, PRIVATE) if holds_both else (chain, PUBLIC)
        staged = StagedFile(place.certificate, content, mode)
        if staged_key is None:
            staged.commit()
        else:
            replace_pair(staged, staged_key, read_file(place.key))
    except BaseException:
        if staged_key is not None:
            staged_key.discard()
        raise


@contextmanager
def _alone(key: Path) -> Iterator[None]:
    """Hold the folder of the key: of many that run at once one renews, and the others find what it left."""
    import fcntl

    folder = key.resolve().parent
    with explained(folder, "locked"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
