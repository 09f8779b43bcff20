"""The wheel: what it holds, that it can be built again, and where its version comes from."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.wheel import ROOT, build, copy_sources, environment, hatchling

FALLBACK: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"][
    "fallback-version"
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_carries_code_type_marker_and_migrations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"trivet/__init__.py", "trivet/py.typed", "trivet/store/_migrations/env.py"} <= names
    assert not {name for name in names if name.startswith(("tests/", "migrations/", "service/"))}
    assert not {name for name in names if "__pycache__" in name}


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_500_000


def test_the_same_sources_give_the_same_bytes_elsewhere_and_later(tmp_path: Path) -> None:
    first, second = copy_sources(tmp_path / "first"), copy_sources(tmp_path / "elsewhere/second")
    for path in second.rglob("*"):  # another time, another umask
        if path.is_file():
            path.chmod(0o600)
            os.utime(path, (1_000_000_000, 1_000_000_000))
    made = build(first, tmp_path / "one"), build(second, tmp_path / "two")
    assert made[0].name == made[1].name
    assert made[0].read_bytes() == made[1].read_bytes()


def test_the_time_in_the_wheel_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "sources")
    wheel = build(sources, tmp_path / "wheel", SOURCE_DATE_EPOCH="1790000000")
    with zipfile.ZipFile(wheel) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 9, 21, 14, 13, 20)}


# --- its version ---


@pytest.fixture
def git(tmp_path: Path, require_tool: Callable[[str], str]) -> Callable[..., None]:
    """Run git in a repository of the sources, with nobody's settings."""
    program = require_tool("git")
    folder = copy_sources(tmp_path / "clone")

    def run(*arguments: str) -> None:
        who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        settings = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        subprocess.run(
            [program, *who, *arguments],
            cwd=folder,
            env=environment(**settings),
            check=True,
            capture_output=True,
        )

    run("init", "-q")
    run("add", "--all")
    run("commit", "-qm", "first")
    return run


def test_the_version_is_that_of_the_tag(git: Callable[..., None], tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git("tag", "kubernetes-1.36")
    assert hatchling(clone, "version") == FALLBACK.replace(".dev0", ".dev1")
    git("tag", "v2.3.4")
    assert hatchling(clone, "version") == "2.3.4"
    git("commit", "-qm", "second", "--allow-empty")
    git("tag", "vendor-9.9")
    assert hatchling(clone, "version") == "2.3.5.dev1"


def test_a_fresh_clone_without_tags_and_a_folder_without_git_can_be_built(
    git: Callable[..., None], tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git("commit", "-qm", "second", "--allow-empty")
    assert hatchling(clone, "version") == FALLBACK.replace(".dev0", ".dev2")
    # A machine without git.
    assert hatchling(clone, "version", PATH="/nonexistent") == FALLBACK
    # A tarball.
    assert (
        build(copy_sources(tmp_path / "unpacked"), tmp_path / "made").name
        == f"trivet-{FALLBACK}-py3-none-any.whl"
    )


def test_the_build_of_the_image_is_told_its_version(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "sources")
    assert hatchling(sources, "version", SETUPTOOLS_SCM_PRETEND_VERSION="1.2.3") == "1.2.3"


def test_the_command_says_the_version_that_is_installed() -> None:
    program = Path(sys.executable).with_name("trivet")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("trivet ")
    assert said.split()[1][0].isdigit()
