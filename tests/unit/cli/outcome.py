"""What the fixture `trivet` is, and what it gives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Outcome:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401  any JSON value
        return json.loads(self.out)


class Trivet(Protocol):
    """Runs the command; with `code`, demands that exit code."""

    def __call__(self, *arguments: object, stdin: str | None = None, code: int | None = 0) -> Outcome: ...
