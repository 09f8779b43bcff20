"""`trivet db`: the database's schema, on the server itself."""

from __future__ import annotations

from typing import Annotated

import typer

from trivet.cli.connection import server_settings
from trivet.cli.output import Format, Output, note, show_object

app = typer.Typer(name="db", help="The database's schema; on the server itself.", no_args_is_help=True)

DatabaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="sqlite:////path or postgresql://…")]


@app.command()
def upgrade(context: typer.Context, database_url: DatabaseUrl = None) -> None:
    """Bring the schema to what this version needs. Make a backup before."""
    from trivet.bootstrap.schema import upgrade_schema

    before, after = upgrade_schema(server_settings(context, database_url=database_url))
    note(f"schema {after}, as before" if before == after else f"schema {before or 'none'} is now {after}")


@app.command()
def current(context: typer.Context, database_url: DatabaseUrl = None, output: Output = Format.TABLE) -> None:
    """Show which schema the database has, and which this version needs."""
    from trivet.bootstrap.schema import schema_state

    state = schema_state(server_settings(context, database_url=database_url))
    show_object(state, output, {"Database": "database", "Schema": "current", "Needed": "needed"})
