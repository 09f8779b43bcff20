"""`trivet token`: make, list and delete access tokens."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from trivet.cli.connection import connect
from trivet.cli.files import refuse_existing
from trivet.cli.minted import SecretOut, hand_out
from trivet.cli.output import Format, Output, note, show_list
from trivet.cli.spans import parse_seconds

app = typer.Typer(name="token", help="Make, list and delete access tokens.", no_args_is_help=True)

_COLUMNS: Final = {
    "ID": "id",
    "ROLE": "role",
    "CLUSTER": "cluster",
    "CREATED": "createdAt",
    "EXPIRES": "expiresAt",
    "DESCRIPTION": "description",
}


@app.command()
def create(
    context: typer.Context,
    role: Annotated[str, typer.Option(metavar="TEXT", help="admin, issuer, approver, auditor or signer.")],
    *,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="Who has it, and what for.")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", "-c", metavar="NAME", help="For this cluster only; a signer must have one."
        ),
    ] = None,
    expires_in: Annotated[
        int | None,
        typer.Option(
            parser=parse_seconds, metavar="SPAN", help="How long it holds: 12h, 30d. Else for good."
        ),
    ] = None,
    signer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An approver's: decide requests for this signer only. Repeatable."),
    ] = None,
    out: SecretOut = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a token. Its secret is shown this once, and cannot be had again."""
    if out is not None:
        refuse_existing(out)
    with connect(context) as trivet:
        made = trivet.tokens.create(
            role,
            description=description,
            cluster=cluster,
            expires_in_seconds=expires_in,
            signer_names=signer,
        )
    told = f"token {made['id']}, role {made['role']}, expires {made['expiresAt'] or 'never'}"
    hand_out(made, told, out, output)


@app.command(name="list")
def list_tokens(context: typer.Context, output: Output = Format.TABLE) -> None:
    """List the tokens, without their secrets."""
    with connect(context) as trivet:
        show_list(trivet.tokens.list(), output, _COLUMNS)


@app.command()
def delete(
    context: typer.Context, token: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")]
) -> None:
    """Make a token worthless, from the next request on."""
    with connect(context) as trivet:
        trivet.tokens.delete(token)
    note(f"deleted: {token}")
