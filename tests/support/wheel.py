"""The wheel, built by hatchling as `make sbom` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("LICENSE", "migrations", "pyproject.toml", "service")
# What would tell the version from outside.
_VERSION = ("SETUPTOOLS_SCM_", "VCS_VERSIONING_", "HATCH_", "SOURCE_DATE_EPOCH", "GIT_")


def environment(**variables: str) -> dict[str, str]:
    """This process's own, without what would tell a build its version or time."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_VERSION)}
    return kept | variables


def hatchling(folder: Path, *arguments: str, **variables: str) -> str:
    """Run hatchling in a folder that holds the sources; give what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.strip()


def build(sources: Path, place: Path, **variables: str) -> Path:
    """Build the wheel of a folder that holds the sources."""
    hatchling(sources, "build", "--target", "wheel", "--directory", str(place), **variables)
    (wheel,) = place.glob("*.whl")
    return wheel


def copy_sources(place: Path) -> Path:
    """A copy of all that the wheel is made from, without git."""
    place.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                place / name,
                ignore=shutil.ignore_patterns("__pycache__"),
                copy_function=shutil.copyfile,
            )
        else:
            shutil.copyfile(source, place / name)
    return place
