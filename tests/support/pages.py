"""Command blocks of the documentation: what stands in them, and how each is to be taken.

    ```sh                                 run by a test, as it stands
    ```sh title="ends with exit code 1"   run, and must end so
    ```sh title="needs a real cluster"    not run; one of `MARKS`

All blocks of a page run in one shell, one after the other, as somebody would paste them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKS = {
    "needs a real cluster": "kubelets, API servers, etcd, machines of its own",
    "needs a node": "changes the machine: /etc, systemd",
    "needs Docker": "a Docker engine",
    "needs another machine": "a second host, a proxy, a machine with a network",
    "installs packages": "tests/packaging does it",
    "in a checkout": "make and git; tests/packaging and tests/checks do it",
    "for illustration": "placeholders that only the reader can fill in",
}
_FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^ *\2[ \t]*$", re.MULTILINE | re.DOTALL)
_ENDS = re.compile(r"ends with exit code (\d+)")
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def mark(self) -> str | None:
        """Why it is not run; None if it is."""
        return self.title if self.title in MARKS else None

    @property
    def code(self) -> int:
        """The exit code that it ends with."""
        found = _ENDS.fullmatch(self.title)
        return int(found[1]) if found else 0

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, by its path in docs/."""
    text = (ROOT / "docs" / page).read_text()
    found = []
    for fence in _FENCE.finditer(text):
        language, _, rest = fence[3].strip().partition(" ")
        title = _TITLE.search(rest)
        line = text.count("\n", 0, fence.start()) + 1
        indent = len(fence[1])
        body = "".join(
            row[indent:] if not row[:indent].strip() else row for row in fence[4].splitlines(keepends=True)
        )
        found.append(Block(page, line, language, title[1] if title else rest, body))
    return found


def script(page: list[Block]) -> str:
    """The blocks as one script for bash, which ends at the first command that fails and says in which block."""
    parts = ["set -eEuo pipefail", "trap 'echo \"FAILED in $BLOCK: $BASH_COMMAND\" >&2' ERR"]
    for block in page:
        text = block.text
        if block.language == "python":
            text = f"$PYTHON - <<'END_OF_PYTHON'\n{text}END_OF_PYTHON\n"
        parts.append(f"BLOCK='{block}'")
        if block.code:
            # In a condition nothing ends the script, and the last command of the block says how it ended.
            parts.append(f"if {{\n{text}\n}}; then code=0; else code=$?; fi")
            parts.append(f'[ "$code" = {block.code} ] || {{ echo "$BLOCK ended with $code" >&2; exit 99; }}')
        else:
            parts.append(text)
    return "\n".join(parts)
