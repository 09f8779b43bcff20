"""Puts all pages into one folder and has Zensical make the site of them: a link that leads nowhere is an error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final

from website import reference
from website.navigation import navigation

ROOT: Final = Path(__file__).resolve().parents[1]
# Pages that stand beside docs/ in the repository, and what they are called in the site.
BESIDE: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "LICENSE.txt",
    "README.md": "about.md",
}
_LINK = re.compile(r"(\]\(<?)([^)\s>#:]+)((?:#[^)\s>]*)?>?\))")
# Blocks in a list: forges take an indentation of two or three, Python-Markdown wants four.
_IN_LIST = re.compile(r"^( {2,3})(```.*?^\1```)$", re.MULTILINE | re.DOTALL)
_PALETTE = (
    ("(prefers-color-scheme: light)", "default", "lucide/sun", "Dark"),
    ("(prefers-color-scheme: dark)", "slate", "lucide/moon", "Light"),
)


def build(place: Path) -> None:
    """Build the site into a folder, which is made anew.

    Raises:
        CalledProcessError: the generator refuses; its output says where.
    """
    with tempfile.TemporaryDirectory(prefix="trivet-site-") as folder:
        project = Path(folder)
        gather(project / "docs")
        pages = [str(page.relative_to(project / "docs")) for page in (project / "docs").rglob("*.md")]
        # TOML's inline values are not JSON's; JSON is YAML, which the generator reads as well.
        (project / "mkdocs.yml").write_text(json.dumps(configuration(pages)))
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "mkdocs.yml"]
        subprocess.run(
            command,
            cwd=project,
            env=os.environ | {"NO_COLOR": "1"},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(project / "site", place)


def gather(docs: Path) -> None:
    """All pages in one folder: those of docs/, those beside it, those that are made from the code."""
    shutil.copytree(ROOT / "docs", docs)
    shutil.copytree(ROOT / "website/theme", docs / "theme")
    for name, page in BESIDE.items():
        shutil.copyfile(ROOT / name, docs / page)
    for name, text in reference.pages().items():
        (docs / name).write_text(text)
    for file in docs.rglob("*.md"):
        text = _LINK.sub(partial(_inside, page=file, docs=docs), file.read_text())
        file.write_text(_IN_LIST.sub(_deeper, text))


def _deeper(block: re.Match[str]) -> str:
    missing = " " * (4 - len(block[1]))
    return re.sub(r"^(?=.)", missing, block[0], flags=re.MULTILINE)


def _inside(link: re.Match[str], page: Path, docs: Path) -> str:
    """A link that fits the folder: to what stands beside docs/ in the repository, it leads to the copy."""
    before, path, after = link.groups()
    here = page.relative_to(docs)
    folder = ROOT if str(here) in BESIDE.values() else (ROOT / "docs" / here).parent
    target = (folder / path).resolve()
    if not target.is_relative_to(ROOT):
        return link[0]
    name = str(target.relative_to(ROOT))
    inside = BESIDE.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
    if inside is None:
        return link[0]
    up = "../" * (len(here.parts) - 1)
    return f"{before}{up}{inside}{after}"


def configuration(pages: list[str]) -> dict[str, Any]:
    """What the generator is told. Nothing is loaded from elsewhere: neither fonts nor scripts."""
    return {
        "site_name": "Trivet",
        "site_description": "A certificate authority for Kubernetes clusters that run on people's own hardware",
        "copyright": "Apache License 2.0",
        "use_directory_urls": False,
        "nav": navigation(pages),
        "extra_css": ["theme/extra.css"],
        "extra": {"generator": False},
        "theme": {
            "variant": "modern",
            "language": "en",
            "font": False,
            "logo": "theme/trivet.svg",
            "favicon": "theme/trivet.svg",
            "features": [
                "content.code.copy",
                "navigation.footer",
                "navigation.path",
                "navigation.sections",
                "navigation.tabs",
                "navigation.top",
                "search.highlight",
                "toc.follow",
            ],
            "palette": [
                {"media": media, "scheme": scheme, "toggle": {"icon": icon, "name": name}}
                for media, scheme, icon, name in _PALETTE
            ],
        },
    }
