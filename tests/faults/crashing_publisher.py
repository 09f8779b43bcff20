"""Processes that revoke and publish, and are killed on the way.

python crashing_publisher.py URL LOG

Reads lines from stdin, each with what one round of processes does at the same time: `SERIAL:POINT` for each of them.
Each is forked, revokes the certificate of that serial number (none where it is `-`), publishes whatever there is to be
published, and kills itself with SIGKILL at the point. It notes in LOG what it committed. The answer is the number of
processes that were killed. One start, many crashes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from tests.support.revocation_objects import entry
from tests.support.world import make_authority

from trivet.authority.install import OPERATOR
from trivet.authority.revoke import create_revocation
from trivet.authority.status import publish
from trivet.pki.manifest import RenewRevocation
from trivet.pki.revocation import EntryKind
from trivet.store import crls

POINTS = ("revoked", "read", "signed", "stored", "committed", "never")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def around(owner: object, name: str, *, before: bool) -> None:
    """Be killed when this is called, or when it returns."""
    real: Callable[..., object] = getattr(owner, name)

    def wrapped(*arguments: object) -> object:
        if before:
            die()
        result = real(*arguments)
        die()
        return result

    setattr(owner, name, wrapped)


def note_commits(log: str) -> None:
    """Write down each CRL that was committed: a short line, which appending does not tear."""
    real = publish.Publisher._store

    def wrapped(self: publish.Publisher, state: publish._State, crl: crls.Crl, made: crls.CrlContent) -> bool:
        is_stored = real(self, state, crl, made)
        if is_stored:
            handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, f"{crl.list_id} {crl.number} {crl.sha256}\n".encode())
            os.close(handle)
        return is_stored

    publish.Publisher._store = wrapped  # type: ignore[method-assign]


def revoke_and_publish(url: str, log: str, serial: str, point: str) -> None:
    note_commits(log)
    match point:
        case "read":
            around(publish, "_made", before=True)
        case "signed":
            around(publish.Publisher, "_store", before=True)
        case "stored":
            around(crls, "store", before=False)
        case "committed":
            around(publish.Publisher, "_store", before=False)
    authority = make_authority(url, lambda: datetime.now(UTC))
    if serial != "-":
        named = entry(EntryKind.SERIAL_NUMBER, serial)
        wanted = RenewRevocation(f"revoked-{serial[-20:]}", description="", entries=(named,))
        create_revocation(authority, OPERATOR, "blue", wanted)
    if point == "revoked":
        die()
    publish.Publisher(authority).publish_all()
    authority.database.dispose()


def main(url: str, log: str) -> None:
    for line in sys.stdin:
        children = []
        for task in line.split():
            serial, _, point = task.partition(":")
            child = os.fork()
            if child == 0:
                revoke_and_publish(url, log, serial, point)
                os._exit(0)
            children.append(child)
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if set(ended) - {0, -signal.SIGKILL}:
            raise RuntimeError(ended)
        print(ended.count(-signal.SIGKILL), flush=True)  # noqa: T201  the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
