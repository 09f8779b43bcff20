from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("uv", "run", "sdk", "dev")
EMPTY_WORDS = {"utils", "helpers", "manager", "common", "misc", "data", "info", "process"}
BANNED = EMPTY_WORDS | {"cert", "ttl", "blacklist"}
# Folders that are nobody's prose: made by tools, or by running Trivet.
FOREIGN = {"node_modules", "dist"}


def _targets() -> list[str]:
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    return phony[1].split()


def _pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^\s;]+)", text, re.MULTILINE))


def _pages() -> list[Path]:
    return [
        page
        for page in sorted(ROOT.rglob("*.md"))
        if not any(part.startswith(".") or part in FOREIGN for part in page.relative_to(ROOT).parts[:-1])
    ]


@cache
def _without_code(page: Path) -> str:
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2[ \t]*$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "`code`", text)


@cache
def _anchors(page: Path) -> set[str]:
    fenced = re.sub(r"^( *)(```+|~~~+).*?^ *\2[ \t]*$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", fenced, re.MULTILINE)
    # As GitHub makes them: lower case, punctuation dropped, spaces to hyphens.
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"""<a (?:id|name)=["']([^"']+)["']""", fenced))


def _fault_of_link(page: Path, link: str) -> str | None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT):
        return f"{link} leaves the repository"
    if not target.exists():
        return f"{link} does not exist"
    if anchor and target.suffix == ".md" and anchor not in _anchors(target):
        return f"{link} names no heading of {target.relative_to(ROOT)}"
    return None


def test_the_makefile_has_at_most_eleven_targets() -> None:
    assert len(_targets()) <= 11


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^make (\w+)\s+\S", listed, re.MULTILINE) == _targets()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_registry(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_a_hash_for_every_pin(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text().replace("\\\n", "")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert pins
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_tests_run_against_the_versions_that_are_served() -> None:
    assert _pins("run").items() <= _pins("dev").items()


def test_every_declared_requirement_is_locked_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    run = [*project["project"]["dependencies"], *extras["server"], *extras["postgres"], *groups["build"]]
    dev = [*groups["dev"], *groups["docs"], *groups["supply"]]
    declared = {"uv": groups["installer"], "run": run, "dev": dev, "sdk": groups["sdk"]}
    for lock, requirements in declared.items():
        pins = _pins(lock)
        for requirement in map(Requirement, requirements):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin in requirement.specifier if pin else False, f"{requirement}: run make lock"


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = (path.relative_to(ROOT / "service") for path in (ROOT / "service").rglob("*.py"))
    assert [str(name) for name in names if BANNED & set(re.split(r"[/_.]", str(name)))] == []


def test_links_between_pages_resolve() -> None:
    faults = [
        f"{page.relative_to(ROOT)}: {fault}"
        for page in _pages()
        for link in re.findall(r"\]\(<?([^)\s>]+)", _without_code(page))
        if not re.match(r"[a-z][a-z0-9+.-]*:", link)
        if (fault := _fault_of_link(page, link))
    ]
    assert faults == []
