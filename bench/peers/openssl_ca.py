"""`openssl ca`: a process for each certificate, and a text file as database.

No HTTP and no fsync, so it has less to do than the others. It rewrites its text database without a lock, so only one
may run at a time.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from bench.limit import make_issuer
from bench.requests import key_pem
from bench.scratch import fresh_folder

if TYPE_CHECKING:
    from pathlib import Path

    from bench.requests import NodeRequest

_CONFIGURATION = """
[ca]
default_ca = bench
[bench]
dir = {folder}
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir/new
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha384
default_days = 4
policy = any
copy_extensions = copy
x509_extensions = leaf
unique_subject = no
[any]
commonName = optional
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def is_installed() -> bool:
    """Whether it can run here."""
    return shutil.which("openssl") is not None


def measure_openssl_ca(requests: list[NodeRequest], seconds: float) -> float:
    """Certificates a second, one after the other.

    Raises:
        subprocess.CalledProcessError: openssl refused.
    """
    folder = _set_up(requests)
    begin, made = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        number = made % len(requests)
        subprocess.run(
            [
                "openssl",
                "ca",
                "-batch",
                "-notext",
                "-config",
                "ca.conf",
                "-subj",
                f"/CN={requests[number].node}",
                "-in",
                f"request-{number}.pem",
                "-out",
                "answer.pem",
            ],
            cwd=folder,
            capture_output=True,
            check=True,
        )
        made += 1
    return made / (time.perf_counter() - begin)


def _set_up(requests: list[NodeRequest]) -> Path:
    folder = fresh_folder("peer-openssl-ca")
    issuer = make_issuer("openssl")
    (folder / "new").mkdir()
    (folder / "ca.conf").write_text(_CONFIGURATION.format(folder=folder))
    (folder / "ca.pem").write_bytes(issuer.pem)
    (folder / "ca.key").write_bytes(key_pem(issuer.key))
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    for number, request in enumerate(requests):
        (folder / f"request-{number}.pem").write_bytes(request.pem)
    return folder
