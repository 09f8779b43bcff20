"""SDKs as `make sdk` makes them, and a service to use them with."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "pages": [2, 1],
    "was listed": True,
    "is new": True,
    "would hit": 2,
    "made": "stolen",
    "refused": [403, True, True],
}


def make(target: str, folder: Path) -> Path:
    """Make an SDK in a folder that holds nothing yet; give where it is."""
    done = run(["make", "--no-print-directory", target, f"SDK={folder}"], ROOT)
    assert "install ./" in done
    return folder / target.removeprefix("sdk-")


def run(command: list[object], folder: Path, **variables: str) -> str:
    """Run a command that must succeed; give what it printed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page_script(page: str, language: str, port: int) -> str:
    """The first script of a page, for a service on another port."""
    text = (ROOT / "docs" / page).read_text()
    script = re.search(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert script is not None
    assert "127.0.0.1:8443" in script[1]
    return script[1].replace("127.0.0.1:8443", f"127.0.0.1:{port}")


def snippets(page: str, language: str) -> list[str]:
    """All scripts of a page."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
