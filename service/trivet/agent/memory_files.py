"""Files that exist in memory only: OpenSSL takes a pair from files, and no key is to lie about in another one."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.agent.files import KeyPair


@contextmanager
def in_memory(pair: KeyPair) -> Iterator[Path]:
    """A path under which this process finds the pair, certificate and key, for as long as the block lasts."""
    if not hasattr(os, "memfd_create"):
        with _in_a_folder(pair) as path:
            yield path
        return
    descriptor = os.memfd_create("trivet-pair", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pair.certificates_pem + pair.key_pem)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


@contextmanager
def _in_a_folder(pair: KeyPair) -> Iterator[Path]:
    # Where there is no Linux: a folder that nobody else reads, gone with the block.
    with tempfile.TemporaryDirectory(prefix="trivet-") as folder:
        path = Path(folder, "pair.pem")
        path.touch(0o600)
        path.write_bytes(pair.certificates_pem + pair.key_pem)
        yield path
