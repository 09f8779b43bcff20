"""`trivet check-expiration`: when what this node holds expires."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trivet.bootstrap.clock import now
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.output import Format, Output, note, printable, show_document, show_list
from trivet.cli.plan import Root, read_plan
from trivet.cli.spans import span_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trivet.agent.expiration import Expirations
    from trivet.agent.inspection import Finding

_CERTIFICATES: Final = {
    "CERTIFICATE": "name",
    "EXPIRES": "expires",
    "RESIDUAL TIME": "residualTime",
    "CERTIFICATE AUTHORITY": "authority",
    "STATE": "state",
}
_AUTHORITIES: Final = {
    "CERTIFICATE AUTHORITY": "authority",
    "EXPIRES": "expires",
    "RESIDUAL TIME": "residualTime",
    "STATE": "state",
}


def check_expiration(
    plan: Annotated[
        Path | None,
        typer.Option(
            "--filename", "-f", metavar="FILE", help="The plan; else kubeadm's layout is looked for."
        ),
    ] = None,
    root: Root = Path("/"),
    output: Output = Format.TABLE,
) -> None:
    """Show when the certificates of this node expire, and whether they can be used.

    Ends with 0 if all can, and with 1 if one is missing, expired, torn, or of another name or CA than it should be.
    Nothing is asked of the service.
    """
    from trivet.agent.expiration import expirations, found_layout
    from trivet.agent.files import FileFaultError, NodeFiles

    files, moment = NodeFiles(root), now()
    try:
        wanted = read_plan(plan) if plan is not None else found_layout(files)
        if wanted is None:
            message = f"below {root} there is no certificate of kubeadm's layout; name the plan with -f"
            raise CommandError(message, ExitCode.NOT_FOUND)
        found = expirations(files, wanted, moment, with_names=plan is not None)
    except FileFaultError as fault:
        raise CommandError(str(fault)) from fault
    _show(found, moment, output)
    if found.unfit:
        names = ", ".join(one.name for one in found.unfit)
        message = f"{len(found.unfit)} cannot be used: {names}"
        raise CommandError(message, ExitCode.REFUSED)


def _show(found: Expirations, moment: datetime, output: Format) -> None:
    certificates, authorities = _rows(found.certificates, moment), _rows(found.authorities, moment)
    if output is not Format.TABLE:
        show_document({"certificates": certificates, "certificateAuthorities": authorities}, output)
        return
    if certificates:
        show_list(certificates, output, _CERTIFICATES)
    if authorities:
        typer.echo()
        show_list(authorities, output, _AUTHORITIES)
    for one in (*found.certificates, *found.authorities):
        if one.reason:
            note(f"{one.name}: {printable(one.reason)}")


def _rows(findings: Sequence[Finding], moment: datetime) -> list[dict[str, Any]]:
    return [_row(finding, moment) for finding in findings]


def _row(finding: Finding, moment: datetime) -> dict[str, Any]:
    ends = finding.not_after
    return {
        "name": finding.name,
        "path": finding.path,
        "expires": f"{ends:%Y-%m-%dT%H:%M:%SZ}" if ends is not None else None,
        "residualTime": span_of(int((ends - moment).total_seconds())) if ends is not None else None,
        "residualSeconds": int((ends - moment).total_seconds()) if ends is not None else None,
        "authority": finding.authority.value if finding.authority is not None else None,
        "isVerified": finding.is_verified,
        "state": finding.state.value,
        "reason": finding.reason or None,
    }
