"""How blocks of commands are read, and that a command which fails is not overlooked."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.pages import Block, script


def run(*blocks: Block) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script(list(blocks))],
        env={"PATH": "/usr/bin:/bin", "PYTHON": "python3"},
        capture_output=True,
        text=True,
        check=False,
    )


def block(text: str, title: str = "", language: str = "sh") -> Block:
    return Block("page.md", 1, language, title, f"{text}\n")


def test_blocks_of_a_page_share_a_shell() -> None:
    done = run(
        block("A=1\ngreet() { echo hello $1; }"), block("print(6 * 7)", language="python"), block("greet $A")
    )
    assert (done.returncode, done.stdout) == (0, "42\nhello 1\n")


@pytest.mark.parametrize(
    "text",
    ["false\ntrue", "false | true", "echo $(false)$UNSET", "f() { false; true; }\nf", "A=$(false)\ntrue"],
)
def test_a_command_that_fails_in_the_midst_of_a_block_ends_the_page(text: str) -> None:
    done = run(block(text), block("echo went on"))
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_the_failing_block_is_named() -> None:
    assert "FAILED in page.md:1: false" in run(block("false")).stderr


@pytest.mark.parametrize(("text", "code"), [("(exit 3)", 0), ("true", 99), ("(exit 1)", 99)])
def test_an_expected_exit_code_is_demanded(text: str, code: int) -> None:
    assert run(block(text, "ends with exit code 3")).returncode == code


def test_a_mark_says_why_a_block_is_not_run() -> None:
    assert block("", "needs a real cluster").mark == "needs a real cluster"
    assert block("", "ends with exit code 1").mark is None
    assert block("", "some title").mark is None
