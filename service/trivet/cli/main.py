"""The command `trivet`: its commands, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from trivet import __version__
from trivet.cli import (
    audit,
    bootstrap_tokens,
    certificates,
    database,
    inventory,
    kubeconfig,
    plan,
    repair,
    requests,
    revocations,
    tokens,
    upkeep,
)
from trivet.cli.agent import agent
from trivet.cli.backup import backup, backup_key, restore
from trivet.cli.connection import Flags
from trivet.cli.diagnose import doctor
from trivet.cli.exits import EXIT_CODES, EXPECTED, ExitCode, code_of, words_of
from trivet.cli.expiration import check_expiration
from trivet.cli.initialise import init
from trivet.cli.issue import issue, sign
from trivet.cli.kubelet_credential import kubelet_credential
from trivet.cli.output import note, printable
from trivet.cli.provision import provision
from trivet.cli.renew import renew
from trivet.cli.repair_node import repair_node
from trivet.cli.revoke import revoke
from trivet.cli.serve import openapi, serve
from trivet.cli.signer import signer

SERVER_PACKAGES = frozenset(
    {"alembic", "fastapi", "fastapi_offline", "OpenSSL", "orjson", "sqlalchemy", "uvicorn"}
)

app = typer.Typer(
    name="trivet",
    help="A certificate authority for Kubernetes clusters that run on people's own hardware.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.command()(serve)
app.command()(doctor)
app.command()(openapi)
app.add_typer(upkeep.app)  # that of the clusters, with more commands
app.command()(issue)
app.command()(sign)
app.command()(renew)
app.add_typer(plan.app)
app.command()(provision)
app.command()(check_expiration)
app.command()(agent)
app.command()(signer)
app.command()(repair_node)
app.add_typer(kubeconfig.app)
app.command()(kubelet_credential)
app.add_typer(certificates.app)
app.add_typer(requests.app)
app.add_typer(inventory.app)
app.add_typer(bootstrap_tokens.app)
app.command()(revoke)
app.add_typer(revocations.app)
app.add_typer(repair.app)
app.add_typer(tokens.app)
app.add_typer(audit.app)
app.add_typer(database.app)
app.command()(backup)
app.command()(restore)
app.command()(backup_key)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"trivet {__version__}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option(help="The settings file.", metavar="FILE")] = None,
    url: Annotated[str | None, typer.Option(help="The service.", metavar="URL")] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Certificates that the service's own is checked against.", metavar="FILE"),
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="Holds an access token.", metavar="FILE")] = None,
    certificate_file: Annotated[
        Path | None, typer.Option(help="A client certificate.", metavar="FILE")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key.", metavar="FILE")] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version.", callback=lambda value: _show_version(wanted=value)
        ),
    ] = False,
) -> None:
    del version
    context.obj = Flags(url, ca_file, token_file, certificate_file, key_file, config)


def run() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    try:
        app(prog_name="trivet")
    except EXPECTED as error:
        note(words_of(error))
        sys.exit(code_of(error))
    except OSError as error:
        note(f"trivet: {printable(str(error.filename or 'a file'))}: {error.strerror or error}")
        sys.exit(ExitCode.LOCAL)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in SERVER_PACKAGES:
            note("trivet: this command needs the server's packages: pip install 'trivet[server]'")
            sys.exit(ExitCode.LOCAL)
        if os.environ.get("TRIVET_DEBUG"):
            raise
        note(f"trivet: a fault in Trivet itself: {type(error).__name__}: {printable(str(error))}")
        note("  TRIVET_DEBUG=1 shows where; please report it with that")
        sys.exit(ExitCode.FAULT)
