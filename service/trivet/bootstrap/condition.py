"""The condition of a service that could start: its clock, database, CRLs, disk and files."""

from __future__ import annotations

import shutil
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

from trivet.authority.install import service_certificate
from trivet.bootstrap.composition import build_authority, opened, shown_url, sqlite_file
from trivet.bootstrap.files import is_private
from trivet.bootstrap.findings import Finding, bad, good, skipped
from trivet.pki.pem import from_der
from trivet.pki.validity import validity_of
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, installation, monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.settings import ServerSettings

_DRIFT: Final = timedelta(seconds=30)
_SLOW: Final = timedelta(milliseconds=50)
_LOOKS: Final = 5
_LEAST_FREE: Final = 512 * 1024 * 1024
_MOST_KEYS: Final = 300  # to open one takes milliseconds
_LAST_OF_AUTHORITY: Final = timedelta(days=180)


def condition(settings: ServerSettings) -> Iterator[Finding]:
    """Look at a database that is there, with an installation in it, and at the files of the service."""
    authority = build_authority(settings)
    try:
        with opened(settings) as database, database.read() as connection:
            yield _clock(connection, authority.clock())
            yield _latency(connection, shown_url(settings))
            yield _crls(connection, authority.clock())
            yield _keys(authority, connection)
        yield _service_authority(authority)
    finally:
        authority.database.dispose()
    yield _disk(sqlite_file(settings))
    yield from _files(settings)


def _clock(connection: Connection, now: datetime) -> Finding:
    there = monitoring.server_time(connection)
    if there is None:
        return skipped("clock", "the database has no other clock than this machine's to compare with")
    apart = abs(there - now)
    if apart > _DRIFT:
        detail = f"this machine's clock and the database's are {apart.total_seconds():.0f} s apart"
        return bad("clock", detail, "let both keep time with chrony or systemd-timesyncd")
    return good("clock", f"{apart.total_seconds():.1f} s apart from the database's")


def _latency(connection: Connection, url: str) -> Finding:
    times = []
    for _ in range(_LOOKS):
        began = perf_counter()
        installation.key_check(connection)
        times.append(perf_counter() - began)
    middle = timedelta(seconds=median(times))
    shown = f"one row takes {middle.total_seconds() * 1000:.1f} ms"
    if middle > _SLOW:
        remedy = (
            f"bring {url} nearer, or see what keeps it busy: each certificate waits for several such looks"
        )
        return bad("database latency", shown, remedy)
    return good("database latency", shown)


def _crls(connection: Connection, now: datetime) -> Finding:
    found = monitoring.crl_times(connection)
    if not found:
        return skipped("CRLs", "none was published yet; `trivet serve` does that")
    ended = [f"{cluster}/{authority}" for cluster, authority, _, until in found if until <= now]
    # They are made anew after a quarter of their time: half of it says that nobody does.
    late = [f"{cluster}/{name}" for cluster, name, since, until in found if until - now < (until - since) / 2]
    remedy = "see whether `trivet serve` runs, and what its log says of CRLs"
    if ended:
        return bad("CRLs", f"no longer valid: {_some(ended)}", remedy)
    if late:
        return bad("CRLs", f"should have been made anew: {_some(late)}", remedy)
    return good("CRLs", f"those of {len(found)} authorities are fresh")


def _keys(authority: Authority, connection: Connection) -> Finding:
    found = monitoring.trusted_generations(connection)
    closed = []
    for one in found[:_MOST_KEYS]:
        generation = authorities.generation(connection, one.id)
        try:
            authority.keyring.signer(generation.id, generation.certificate, generation.private_key)
        except WrongKeyError:
            closed.append(f"{one.cluster or 'service'}/{one.authority}")
    if closed:
        remedy = "restore the database from a backup (docs/backup.md): their stored keys were changed"
        return bad("keys of authorities", f"do not open: {_some(closed)}", remedy)
    looked = f"{len(found)}" if len(found) <= _MOST_KEYS else f"{_MOST_KEYS} of {len(found)}, the first,"
    return good("keys of authorities", f"{looked} open")


def _service_authority(authority: Authority) -> Finding:
    end = validity_of(from_der(service_certificate(authority))).not_after
    if end - authority.clock() < _LAST_OF_AUTHORITY:
        remedy = "plan a new installation, whose service-ca.crt clients trust before then"
        return bad("service authority", f"its certificate ends at {end:%Y-%m-%d}", remedy)
    return good("service authority", f"valid until {end:%Y-%m-%d}")


def _disk(database: Path | None) -> Finding:
    if database is None:
        return skipped("disk", "the database is on another machine, or in another place: look there")
    usage = shutil.disk_usage(database.parent)
    # An upgrade, and a backup beside it, may each take as much as the database does.
    wanted = max(_LEAST_FREE, database.stat().st_size)
    shown = f"{usage.free / 1e9:.1f} GB free at {database.parent}"
    if usage.free < wanted:
        remedy = f"make room: {wanted / 1e9:.1f} GB are wanted; a full disk ends issuing"
        return bad("disk", shown, remedy)
    return good("disk", shown)


def _files(settings: ServerSettings) -> Iterator[Finding]:
    database, key = sqlite_file(settings), settings.key_encryption_key_file
    if database is not None:
        open_to_all = [
            path for path in (database, *database.parent.glob(f"{database.name}-*")) if _can_be_reached(path)
        ]
        if open_to_all:
            remedy = f"chmod 700 {database.parent}; chmod 600 {' '.join(map(str, open_to_all))}"
            yield bad(
                "files", f"anybody on this machine can read {_some(list(map(str, open_to_all)))}", remedy
            )
        elif key is not None and key.resolve().parent == database.resolve().parent:
            remedy = f"move {key} to another place, and name it in key_encryption_key_file"
            yield bad("files", "the key-encryption key lies beside the database that it protects", remedy)
        else:
            yield good("files", "the database is private, and its key lies elsewhere")


def _can_be_reached(path: Path) -> bool:
    """Whether others can read a file: by its own mode, and by that of the folder that it is in."""
    return not is_private(path) and bool(path.parent.stat().st_mode & 0o001)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"  # noqa: PLR2004  enough to begin with
