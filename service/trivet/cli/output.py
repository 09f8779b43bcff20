"""What is shown: as a table for people, as JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml


class Format(StrEnum):
    """How a result is shown."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to show the result.")]


def printable(text: str) -> str:
    """The text without control characters, which could move the cursor of whoever reads it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def note(text: str = "") -> None:
    """Tell people something beside the result."""
    typer.echo(text, err=True)


def show_list(items: Iterable[Mapping[str, Any]], form: Format, columns: Mapping[str, str]) -> None:
    """Show objects, one a row.

    Args:
        items: the objects.
        form: how.
        columns: heading and member of each column.
    """
    if form is not Format.TABLE:
        show_document(list(items), form)
        return
    rows = [[_text(item.get(member)) for member in columns.values()] for item in items]
    for line in _aligned([list(columns), *rows]):
        typer.echo(line)


def show_object(item: Mapping[str, Any], form: Format, fields: Mapping[str, str]) -> None:
    """Show one object, one member a line.

    Args:
        item: the object.
        form: how.
        fields: label and member of each line.
    """
    if form is not Format.TABLE:
        show_document(item, form)
        return
    for line in _aligned([[f"{label}:", _text(item.get(member))] for label, member in fields.items()]):
        typer.echo(line)


def show_document(value: object, form: Format) -> None:
    """Show a value as it came from the service: as YAML, or else as JSON."""
    if form is Format.YAML:
        typer.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _text(value: object) -> str:
    match value:
        case None | "" | []:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_text(item) for item in value)
        case _:
            return printable(str(value))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
