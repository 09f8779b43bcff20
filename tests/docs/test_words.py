"""What the documentation calls commands, options and settings is what they are called."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main

from trivet.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/how-to/*.md"),
        *ROOT.glob("docs/tutorials/*.md"),
    )
    if page.name != "CHANGELOG.md"  # tells of what was
)
CALL = re.compile(
    r"(?:^|\$\(|\bdo |trivet-\d )(?:[A-Z_]+=\S+ )*(?:[\w./]*/)?trivet ([a-z-][^`\n|;&#]*)", re.MULTILINE
)


@cache
def root() -> Any:  # noqa: ANN401  Click's, by way of Typer
    return typer.main.get_command(app)


def calls(page: str) -> Iterator[str]:
    """Whatever is called in code: in blocks of commands, and in `code`."""
    text = (ROOT / page).read_text()
    for block in re.findall(r"^ *```sh[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from CALL.findall(block.replace("\\\n", " "))
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`(trivet [^`\n]+)`", prose):
        if code != "trivet proof v1":  # what a signature covers
            yield from CALL.findall(code)


def fault_of(call: str) -> str | None:
    """What the command does not know of a call."""
    try:
        words = shlex.split(call, comments=True)
    except ValueError:
        words = call.split()
    command, known = root(), {"--help", *options(root())}
    for before, word in pairwise(["", *words]):
        below = getattr(command, "commands", {})
        if word.startswith("--"):
            if (name := word.partition("=")[0]) not in known:
                return f"trivet {call}: {name}"
        elif word in below or "open" in below:  # `trivet repair NAME` is `trivet repair open NAME`
            command = below.get(word) or below["open"]
            known |= options(command)
        elif below and re.fullmatch(r"[a-z][a-z-]+", word) and before not in options(root()):
            return f"trivet {call}: {word}"
    return None


def options(command: Any) -> set[str]:  # noqa: ANN401
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_that_a_page_names_is_there(page: str) -> None:
    assert [fault for call in calls(page) if (fault := fault_of(call))] == []


def test_a_command_that_is_not_there_is_found() -> None:
    assert fault_of("certificates list --limit 1") is None
    assert fault_of("certificates list --limits 1") == "trivet certificates list --limits 1: --limits"
    assert fault_of("certificate list") == "trivet certificate list: certificate"
