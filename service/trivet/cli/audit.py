"""`trivet audit`: take the proof of what was decided out of Trivet, verify it anywhere, ask it questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from trivet.cli.audit_view import show_answer, show_report
from trivet.cli.connection import client_settings, connect
from trivet.cli.exits import CommandError, ExitCode
from trivet.cli.files import explained
from trivet.cli.output import Format, Output, note

if TYPE_CHECKING:
    from trivet.pki.keys import PublicKey
    from trivet.pki.proof.verify import Verification

app = typer.Typer(name="audit", help="Prove what was decided, and why.", no_args_is_help=True)
_KNOWN: Final = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
_LONGEST_LINE: Final = 64 * 1024 * 1024

ExportFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="What `trivet audit export` wrote; - for stdin.")
]
Authorities = Annotated[
    Path | None,
    typer.Option(
        "--service-ca",
        metavar="FILE",
        help="Certificates of the service authority; else ca_file of the settings.",
    ),
]
Known = Annotated[
    list[str] | None,
    typer.Option(
        "--known",
        metavar="NUMBER:SHA256",
        help="A checkpoint noted earlier, which must be there; may be repeated.",
    ),
]
Moment = Annotated[str | None, typer.Option(metavar="TIME", help="A time (RFC 3339).")]


@app.command()
def export(
    context: typer.Context,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", "-c", metavar="NAME", help="Show the records of one cluster only."),
    ] = None,
    since: Moment = None,
    until: Moment = None,
) -> None:
    """Write decisions, audit trail, history of entries and checkpoints to stdout, as lines of JSON."""
    out = typer.get_binary_stream("stdout")
    ending = b""
    with connect(context) as trivet:
        for piece in trivet.audit_records.export(cluster=cluster, since=since, until=until):
            out.write(piece)
            ending = (ending + piece)[-4096:]
    out.flush()
    if b'"type":"end"' not in ending.rstrip(b"\n").rpartition(b"\n")[2]:
        message = "the export broke off: its last line is missing; try again"
        raise CommandError(message, ExitCode.UNAVAILABLE)


@app.command()
def verify(
    context: typer.Context,
    file: ExportFile,
    service_ca: Authorities = None,
    known: Known = None,
    output: Output = Format.TABLE,
) -> None:
    """Verify an export: every hash and signature, and every decision against the entries that stood then.

    Needs nothing but the export and the certificate of the service authority. Ends with 1 where anything is wrong.
    """
    verification = _verified(file, _keys(context, service_ca), _checkpoints(known))
    report = verification.finish()
    show_report(report, output)
    if not report.is_sound:
        raise typer.Exit(ExitCode.REFUSED)


@app.command()
def explain(
    context: typer.Context,
    file: ExportFile,
    serial: Annotated[str, typer.Option(metavar="SERIAL", help="The serial number, hexadecimal.")],
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When (RFC 3339); else the end of the export.")
    ] = None,
    service_ca: Authorities = None,
    output: Output = Format.TABLE,
) -> None:
    """Tell whether a serial number was denied at a time, and by which entry, from an export that is verified first."""
    from trivet.pki.proof.explain import Explanation
    from trivet.pki.proof.lines import parse, parsed_time

    if str(file) == "-":
        message = "the export is read twice: give a file"
        raise CommandError(message, ExitCode.USAGE)
    number, moment = _serial(serial), _moment(at)
    verification = _verified(file, _keys(context, service_ca), {})
    report = verification.finish()
    if not report.is_sound or report.checkpoint is None:
        show_report(report, output)
        note("trivet: an export that does not verify proves nothing")
        raise typer.Exit(ExitCode.REFUSED)
    explanation = Explanation(verification.history, number)
    with _lines(file) as lines:
        for raw in lines:
            if b'"type":"decision"' in raw:
                line = parse(raw)
                if line["type"] == "decision":
                    explanation.feed(line)
    show_answer(explanation.answer(moment or parsed_time(report.checkpoint[2])), output)


def _verified(file: Path, keys: list[PublicKey], known: dict[int, str]) -> Verification:
    from trivet.pki.proof.verify import Verification

    verification = Verification(keys, known)
    with _lines(file) as lines:
        for line in lines:
            verification.feed(line)
    return verification


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a file, one at a time however large it is."""
    if str(file) == "-":
        yield _split(typer.get_binary_stream("stdin"))
        return
    with explained(file, "read"), file.open("rb") as opened:
        yield _split(opened)


def _split(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(_LONGEST_LINE):
        yield line.removesuffix(b"\n")


def _keys(context: typer.Context, service_ca: Path | None) -> list[PublicKey]:
    from cryptography import x509

    path = service_ca or client_settings(context).ca_file
    if path is None:
        message = (
            "which certificate made the checkpoints? name it with --service-ca, or ca_file in the settings"
        )
        raise CommandError(message, ExitCode.USAGE)
    with explained(path, "read"):
        pem = path.read_bytes()
    try:
        return [certificate.public_key() for certificate in x509.load_pem_x509_certificates(pem)]
    except ValueError as error:
        message = f"{path} holds no certificate in PEM"
        raise CommandError(message) from error


def _checkpoints(known: list[str] | None) -> dict[int, str]:
    found = {}
    for text in known or ():
        match = _KNOWN.fullmatch(text.strip().lower())
        if match is None:
            message = f"{text[:80]!r} is not the number and hash of a checkpoint, as `trivet audit verify` shows them"
            raise CommandError(message, ExitCode.USAGE)
        found[int(match[1])] = match[2]
    return found


def _serial(text: str) -> str:
    from trivet.pki.serials import parse_serial, serial_hex

    try:
        return serial_hex(parse_serial(text))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


def _moment(text: str | None) -> datetime | None:
    from trivet.pki.entries import parse_rfc3339

    try:
        return parse_rfc3339(text) if text is not None else None
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
