"""`make sbom`: what is installed with Trivet, by whom, under which licences; and `.ci/audit`."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support.wheel import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    re.findall(
        r"^([a-z0-9][a-z0-9.-]*)==([^\s;]+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE
    )
)
# Of what may be installed beside Apache-2.0 code and be passed on with it. LGPL is psycopg's, which is imported as
# it is, not changed, and replaceable.
LICENCES = {
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0",
    "License :: OSI Approved :: Apache Software License",
    "License :: OSI Approved :: BSD License",
    "License :: OSI Approved :: MIT License",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)",
}  # fmt: skip
# What says so in words only, which the bill does not take; looked up by hand.
IN_WORDS = {"protobuf": {"BSD-3-Clause"}}


@pytest.fixture(scope="module")
def bill(require_tool: Callable[[str], str]) -> str:
    """What `make sbom` writes."""
    done = subprocess.run(
        [require_tool("make"), "sbom"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return (ROOT / "dist/trivet.cdx.json").read_text()


@pytest.fixture(scope="module")
def components(bill: str) -> dict[str, dict[str, Any]]:
    return {canonicalize_name(component["name"]): component for component in json.loads(bill)["components"]}


def _licences(component: dict[str, Any]) -> set[str]:
    names = set()
    for choice in component.get("licenses", []):
        told = choice.get("expression") or choice["license"].get("id") or choice["license"]["name"]
        names |= {told} if "::" in told else set(re.split(r" (?:AND|OR|WITH) ", re.sub(r"[()]", "", told)))
    return names


def test_the_bill_of_materials_follows_the_schema_of_cyclonedx(bill: str) -> None:
    validator = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)
    assert validator.validate_str(bill) is None
    assert validator.validate_str('{"bomFormat": "CycloneDX", "specVersion": "1.6", "parts": []}') is not None


def test_it_is_of_this_version_and_has_everything_that_is_installed_as_it_is_locked(
    bill: str, components: dict[str, dict[str, Any]]
) -> None:
    root = json.loads(bill)["metadata"]["component"]
    (wheel,) = (ROOT / "dist").glob("trivet-*.whl")
    assert (root["name"], root["version"]) == ("trivet", wheel.name.split("-")[1])
    wanted = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    assert {canonicalize_name(Requirement(line).name) for line in wanted} <= components.keys()
    assert {name: component["version"] for name, component in components.items()}.items() <= PINS.items()
    assert all(component["purl"].startswith("pkg:pypi/") for component in components.values())


def test_it_says_what_needs_what_and_nothing_of_tools(
    bill: str, components: dict[str, dict[str, Any]]
) -> None:
    needs = {edge["ref"]: edge.get("dependsOn", []) for edge in json.loads(bill)["dependencies"]}
    refs = {component["bom-ref"] for component in components.values()}
    assert refs <= needs.keys()
    assert set().union(*needs.values()) >= refs
    assert not {"pytest", "ruff", "hatchling", "pip", "setuptools"} & components.keys()


def test_every_licence_is_one_that_was_looked_at(components: dict[str, dict[str, Any]]) -> None:
    told = {name: _licences(component) or IN_WORDS.get(name, set()) for name, component in components.items()}
    assert {
        name: licences - LICENCES or "none"
        for name, licences in told.items()
        if not licences <= LICENCES or not licences
    } == {}


def test_an_audit_that_cannot_ask_anybody_says_so_and_fails_nothing(tmp_path: Path) -> None:
    nowhere = {"PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [ROOT / ".ci/audit"], env=nowhere, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert f"NOT DONE: no advisories can be had here; {len(PINS)} locked packages" in done.stdout
