"""Reference pages that are made from the code, anew each time: they cannot be out of date."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import typer
import typer.main

from trivet.cli.exits import code_of
from trivet.cli.main import app
from trivet.client.errors import ProblemError
from trivet.pki import errors
from trivet.settings import ClientSettings, ServerSettings
from trivet.web import problems
from website import metrics, rest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from trivet.settings.layers import LayeredSettings

MADE: Final = "This page is made from the code.\n\n"


def pages() -> dict[str, str]:
    """The text of each page, by its path in docs/."""
    return {
        "reference/command.md": command(),
        "reference/errors.md": refusals(),
        "reference/metrics.md": metrics.page(),
        "reference/objects.md": rest.objects(),
        "reference/rest.md": rest.operations(),
        "reference/settings.md": settings(),
    }


def command() -> str:
    """The help of every command."""
    overview = "An overview is in [the command](../cli.md), with exit codes and settings.\n"
    return f"# The command `trivet`\n\n{MADE}{overview}" + "".join(
        _command(typer.main.get_command(app), ("trivet",), None)
    )


def _command(one: Any, path: tuple[str, ...], parent: Any) -> Iterator[str]:  # noqa: ANN401  Click's, by way of Typer
    context = one.make_context(path[-1], ["--help"], parent=parent, resilient_parsing=True)
    context.info_name = path[-1]
    yield f"\n## {' '.join(path)}\n\n```text\n{one.get_help(context).rstrip()}\n```\n"
    for name, below in sorted(getattr(one, "commands", {}).items()):
        if not below.hidden:
            yield from _command(below, (*path, name), context)


def settings() -> str:
    """Every setting with its default."""
    return (
        f"# Settings\n\n{MADE}What they are for is in [operations](../operations.md#settings) and in"
        " [the command](../cli.md#settings), and where the file is looked for.\n"
        f"\n## [server]\n\n{_settings(ServerSettings)}\n## [client]\n\n{_settings(ClientSettings)}"
    )


def _settings(table: type[LayeredSettings]) -> str:
    words = dict(
        re.findall(
            r"^ {8}(\w+): (.+?)(?=\n {8}\w+: |\n\n|\n? *\Z)", table.__doc__ or "", re.MULTILINE | re.DOTALL
        )
    )
    rows = [
        f"| `{name}` | `TRIVET_{name.upper()}` | {_default(field)} | {_one_line(words.get(name, ''))} |\n"
        for name, field in table.model_fields.items()
    ]
    return f"| setting | environment | default | what |\n| --- | --- | --- | --- |\n{''.join(rows)}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "by the machine"
    value = field.default
    if value is None or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def refusals() -> str:
    """Every kind of problem: how it is answered over REST, over the Kubernetes API, by the command."""
    # Of several with one name the one that is called so.
    classes = {one.slug: one for one in sorted(_below(errors.Refusal), key=_is_called_as_its_slug)}
    rows = []
    for slug, shown in sorted(problems.RENDERINGS.items(), key=lambda item: (item[1].status, item[0])):
        one = classes.get(slug)
        words = _one_line((one.__doc__ or "").split("\n\n")[0]) if one else ""
        ends = int(code_of(ProblemError(slug, shown.title, shown.status, "")))
        rows.append(f"| `{slug}` | {shown.status} | `{shown.reason}` | {ends} | {words or shown.title} |\n")
    return (
        f"# Errors\n\n{MADE}Over REST a refusal is `application/problem+json` with the `type`"
        f" `{problems.TYPE_PREFIX}` and the name; over the Kubernetes API a `Status` with the reason; the command ends"
        " with the exit code. [How to read them](../rest.md#what-holds-everywhere).\n\n"
        "| name | status | reason | exit code | when |\n| --- | --- | --- | --- | --- |\n" + "".join(rows)
    )


def _is_called_as_its_slug(one: type[errors.Refusal]) -> bool:
    return one.__name__.lower() == f"{one.slug}error".lower()


def _below(one: type[errors.Refusal]) -> Iterator[type[errors.Refusal]]:
    for below in one.__subclasses__():
        yield from _below(below)
    yield one
