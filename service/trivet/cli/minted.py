"""A secret that was just made: shown this once, or written to a file that only its owner can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trivet.bootstrap.files import write_new
from trivet.cli.files import explained
from trivet.cli.output import Format, note, show_document

if TYPE_CHECKING:
    from collections.abc import Mapping

SecretOut = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file for the secret (mode 0600); else it is printed."),
]


def hand_out(
    made: Mapping[str, Any], told: str, out: Path | None, form: Format, *, member: str = "secret"
) -> None:
    """Hand a secret to whoever asked for it, with what it belongs to.

    Args:
        made: what was made.
        told: what people are told about it.
        out: a file that does not exist yet; without one the secret is shown.
        form: how to show it.
        member: where the secret is in `made`.

    Raises:
        CommandError: the file cannot be written.
    """
    if out is not None:
        with explained(out, "written"):
            write_new(out, made[member].encode() + b"\n")
        note(f"the {member} is in {out}")
    if form is not Format.TABLE:
        shown = made if out is None else {name: value for name, value in made.items() if name != member}
        show_document(shown, form)
        return
    note(told)
    if out is None:
        note(f"The {member}, shown this once:")
        typer.echo(made[member])
