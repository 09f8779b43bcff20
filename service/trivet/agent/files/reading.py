"""Reading files of the node, with one typed error for all that can be wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trivet.agent.files.errors import FileFaultError, FileReason, faults_of
from trivet.agent.files.pairs import MismatchError, key_pair_from_pem

if TYPE_CHECKING:
    from pathlib import Path

    from trivet.agent.files.pairs import KeyPair

MAX_BYTES: Final = 4 * 1024 * 1024  # a kubeconfig with many clusters; nothing that a node holds is longer


def content(path: Path) -> bytes | None:
    """A file's content; None where there is none.

    Raises:
        FileFaultError: it cannot be read, or is too long for what it should be.
    """
    try:
        with faults_of(path), path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileFaultError as fault:
        if isinstance(fault.__cause__, FileNotFoundError):
            return None
        raise
    if len(text) > MAX_BYTES:
        raise FileFaultError(path, FileReason.UNREADABLE, f"it is longer than {MAX_BYTES} bytes")
    return text


def pair_of(certificate: Path, key: Path) -> KeyPair | None:
    """The pair in two files, or in one that is named twice; None where neither is.

    Raises:
        FileFaultError: UNREADABLE, MISMATCH or INCOMPLETE, or the disk's reason.
    """
    chain, secret = content(certificate), content(key)
    if chain is None and secret is None:
        return None
    if chain is None or secret is None:
        there, missing = (key, certificate) if chain is None else (certificate, key)
        raise FileFaultError(missing, FileReason.INCOMPLETE, f"it is missing, though {there.name} is there")
    return parsed_pair(chain, secret, certificate)


def parsed_pair(chain: bytes, secret: bytes, path: Path) -> KeyPair:
    """Read a pair that was read from a file.

    Raises:
        FileFaultError: UNREADABLE or MISMATCH.
    """
    try:
        return key_pair_from_pem(chain, secret)
    except MismatchError as error:
        raise FileFaultError(path, FileReason.MISMATCH, str(error)) from None
    except ValueError as error:
        raise FileFaultError(path, FileReason.UNREADABLE, str(error)) from None
