"""A certificate and its key on this machine: read, written new, replaced."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trivet.bootstrap.files import PRIVATE, PUBLIC, write_new
from trivet.cli.exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.client.keys import PrivateKey


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Say of a failing file which it is and why.

    Raises:
        CommandError: it failed.
    """
    try:
        yield
    except FileExistsError as error:
        message = f"{path} is there already and was left as it is; choose another name, or give --force"
        raise CommandError(message) from error
    except OSError as error:
        message = f"{path} cannot be {doing}: {error.strerror}"
        raise CommandError(message) from error


def read_file(path: Path) -> bytes:
    """Read a file, or standard input where it is `-`."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    with explained(path, "read"):
        return path.read_bytes()


def read_certificate(path: Path) -> x509.Certificate:
    """Read the first PEM certificate of a file.

    Raises:
        CommandError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(read_file(path))[0]
    except ValueError as error:
        message = f"{path} holds no certificate in PEM"
        raise CommandError(message) from error


def read_key(path: Path) -> PrivateKey:
    """Read an unencrypted PEM private key.

    Raises:
        CommandError: there is none, or of a kind that certificates of Trivet do not have.
    """
    try:
        key = load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{path} holds no unencrypted private key in PEM"
        raise CommandError(message) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        message = f"the key in {path} is of a kind that Trivet does not certify"
        raise CommandError(message)
    return key


class StagedFile:
    """New content for a file, complete on the disk beside it, that can take its place in one step."""

    def __init__(self, path: Path, content: bytes, mode: int) -> None:
        """Write the content under a temporary name in the same directory.

        Raises:
            CommandError: that is not possible: no permission, no space.
        """
        # Through a symbolic link: kubelet's kubelet-client-current.pem is one.
        self.path = path.resolve()
        self._staged = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        with explained(path, "written"):
            write_new(self._staged, content, mode)

    def commit(self) -> None:
        """Take the place of the file.

        Raises:
            CommandError: that failed; the file is as it was.
        """
        with explained(self.path, "replaced"):
            self._staged.replace(self.path)
            _sync_directory(self.path.parent)

    def commit_new(self) -> None:
        """Take the place of no file: of two who write at once the second is refused.

        Raises:
            CommandError: there is one now, or that failed.
        """
        with explained(self.path, "written"):
            os.link(self._staged, self.path)
            self._staged.unlink()
            _sync_directory(self.path.parent)

    def discard(self) -> None:
        """Leave the file as it is."""
        self._staged.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_pair(certificate: StagedFile, key: StagedFile, former_key: bytes) -> None:
    """Put a new certificate and key in the place of the former pair.

    Two files cannot be renamed in one step. The key goes first; where the certificate then fails, the former
    key comes back, so that a working pair is left.

    Raises:
        CommandError: it failed; the former pair is in place.
    """
    key.commit()
    try:
        certificate.commit()
    except CommandError:
        StagedFile(key.path, former_key, PRIVATE).commit()
        raise


def refuse_existing(*paths: Path) -> None:
    """Refuse, before anything is done, to write over files.

    Raises:
        CommandError: one of them is there.
    """
    for path in paths:
        with explained(path, "written"):
            if path.exists():
                raise FileExistsError


def write_public(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that anybody may read."""
    if force:
        StagedFile(path, content, PUBLIC).commit()
        return
    with explained(path, "written"):
        write_new(path, content, PUBLIC)
