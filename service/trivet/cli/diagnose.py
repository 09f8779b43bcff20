"""`trivet doctor`: what keeps Trivet from working here, and what to do about it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import typer

from trivet.bootstrap.clock import now
from trivet.bootstrap.files import is_private
from trivet.bootstrap.findings import Finding, State, bad, good, skipped
from trivet.cli.connection import client_settings, connect, connect_as, server_settings, settings_file
from trivet.cli.exits import EXPECTED, ExitCode
from trivet.cli.files import read_certificate
from trivet.cli.output import Format, Output, note, show_list
from trivet.client import ProblemError
from trivet.pki.validity import validity_of
from trivet.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trivet.settings import ClientSettings, SettingsFile

_COLUMNS: Final = {"STATE": "state", "SUBJECT": "subject", "FOUND": "detail", "WHAT TO DO": "remedy"}
_DRIFT: Final = timedelta(minutes=1)
_LAST_PART: Final = 1 / 4


def doctor(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Say what is wrong here, and what to do about it.

    Looks at settings, keys, database, clocks, CRLs, disk, files and service, and changes nothing. Ends with 1 if
    anything is bad.
    """
    findings = list(_diagnose(context))
    if output is Format.TABLE:
        for finding in findings:
            typer.echo(f"{finding.state:<8}{finding.subject}: {finding.detail}")
            if finding.remedy:
                typer.echo(f"{'':8}→ {finding.remedy}")
    else:
        show_list(map(_document, findings), output, _COLUMNS)
    if any(finding.state is State.BAD for finding in findings):
        raise typer.Exit(ExitCode.REFUSED)
    note("nothing is wrong")


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "subject": finding.subject,
        "state": finding.state.value,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


def _diagnose(context: typer.Context) -> Iterator[Finding]:
    try:
        file = settings_file(context)
    except SettingsError as error:
        yield bad("settings", str(error), "mend the file, or name another with --config")
        return
    yield good("settings", str(file.path) if file else "no settings file; environment and flags decide")
    yield from _server(context, file)
    yield from _client(context)


def _server(context: typer.Context, file: SettingsFile | None) -> Iterator[Finding]:
    if (file is None or "server" not in file.tables) and "TRIVET_DATABASE_URL" not in os.environ:
        yield skipped("server", "no service is set up on this machine")
        return
    try:
        settings = server_settings(context)
        from trivet.bootstrap.diagnosis import diagnose_service
    except SettingsError as error:
        yield bad("server settings", str(error), "mend them")
        return
    except ModuleNotFoundError:
        yield skipped("server", "its packages are not installed (pip install 'trivet[server]')")
        return
    yield from diagnose_service(settings)


def _client(context: typer.Context) -> Iterator[Finding]:
    try:
        settings = client_settings(context)
    except SettingsError as error:
        yield bad("client settings", str(error), "mend them, or run `trivet init`")
        return
    yield from _files(settings)
    yield _service(context)
    yield _access(context)


def _files(settings: ClientSettings) -> Iterator[Finding]:
    secrets = {"access token": settings.token_file, "client key": settings.key_file}
    for subject, path in secrets.items():
        if path is not None:
            yield _secret_file(subject, path)
    certificates = {"service CA": settings.ca_file, "client certificate": settings.certificate_file}
    for subject, path in certificates.items():
        if path is not None:
            yield _certificate_file(subject, path)


def _secret_file(subject: str, path: Path) -> Finding:
    if not path.is_file():
        return bad(subject, f"there is no file {path}", "put it there, or name another in the settings")
    if not is_private(path):
        return bad(subject, f"anybody on this machine can read {path}", f"chmod 600 {path}")
    return good(subject, f"{path} is private")


def _certificate_file(subject: str, path: Path) -> Finding:
    try:
        validity = validity_of(read_certificate(path))
    except EXPECTED as error:
        return bad(subject, str(error), "put a certificate there, or name another in the settings")
    span = f"valid from {validity.not_before:%Y-%m-%dT%H:%M:%SZ} to {validity.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if not validity.contains(now()):
        remedy = f"the clock says {now():%Y-%m-%dT%H:%M:%SZ}: set it right, or replace the certificate"
        return bad(subject, f"{path} is {span}", remedy)
    return good(subject, f"{path}, {span}")


def _service(context: typer.Context) -> Finding:
    try:
        with connect_as(context, None, None) as trivet:
            health = trivet.probes.ready()
    except ProblemError as error:
        return bad(
            "service", f"it answers, but is not ready: {error}", "see its log, and `trivet doctor` there"
        )
    except EXPECTED as error:
        return bad("service", str(error), "start it with `trivet serve`, or mend url and ca_file in [client]")
    if health.date is not None and abs(health.date - now()) > _DRIFT:
        return bad("service", f"its clock says {health.date:%Y-%m-%dT%H:%M:%SZ}", "set the clocks right")
    if health.certificate is None:
        return good("service", "ready, over plain HTTP")
    end = health.certificate.not_valid_after_utc
    if end - now() < (end - health.certificate.not_valid_before_utc) * _LAST_PART:
        detail = (
            f"its certificate ends at {end:%Y-%m-%dT%H:%M:%SZ} and was not renewed at two thirds of its time"
        )
        return bad("service", detail, "see its log for `renewing the HTTPS certificate`, and restart it")
    return good("service", f"ready, with a trusted certificate until {end:%Y-%m-%dT%H:%M:%SZ}")


def _access(context: typer.Context) -> Finding:
    try:
        with connect(context) as trivet:
            list(trivet.clusters.list(limit=1))
    except ProblemError as error:
        return bad("access", str(error), "ask an administrator for a token (`trivet token create`)")
    except EXPECTED:
        return skipped("access", "the service does not answer, so nobody can say who is asking")
    return good("access", "the service knows who is asking")
