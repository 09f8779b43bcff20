"""`trivet serve` and `trivet openapi`: run the service, and describe it."""

from __future__ import annotations

from typing import Annotated

import typer

from trivet.cli.connection import server_settings


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on [127.0.0.1].")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="The port to listen on [8443].")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many processes answer [one a core, 8 at most].")
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="HTTPS [yes]; without only behind a proxy that ends TLS."),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="sqlite:////path/to/trivet.db or postgresql://…")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="TEXT", help="debug, info, warning or error [info].")
    ] = None,
) -> None:
    """Serve until SIGTERM or SIGINT; finish what is in flight."""
    flags = {"host": host, "port": port, "workers": workers, "tls": tls, "log_level": log_level}
    settings = server_settings(context, database_url=database_url, **flags)
    from trivet.bootstrap.service import serve as run_service

    run_service(settings)


def openapi() -> None:
    """Print the OpenAPI document."""
    from trivet.bootstrap.document import openapi_document

    typer.echo(openapi_document(), nl=False)
