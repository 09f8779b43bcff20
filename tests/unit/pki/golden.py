"""Golden files: what a function makes today, compared with what was agreed to."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[3]


def check_golden(path: str, text: str) -> None:
    """Compare with the file in the repository, or write it where TRIVET_UPDATE_GOLDEN=1 is set."""
    file = ROOT / path
    if os.environ.get("TRIVET_UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    agreed = file.read_text() if file.exists() else ""
    assert text == agreed, f"if this change is meant, run again with TRIVET_UPDATE_GOLDEN=1 and commit {path}"
