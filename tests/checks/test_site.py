"""The documentation as a site: built strictly, whole, with nothing that is loaded from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CalledProcessError
from urllib.parse import unquote, urlsplit

import pytest
import typer.main

import website.build
from trivet.bootstrap.document import openapi_document
from trivet.cli.main import app
from trivet.settings import ClientSettings, ServerSettings
from trivet.web.problems import RENDERINGS
from website import reference
from website.build import build
from website.navigation import navigation

ROOT = Path(__file__).resolve().parents[2]


class Links(HTMLParser):
    """What a page leads to, what it loads, and what can be led to in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.anchors |= {told[name] for name in ("id", "name") if name in told}
        if tag == "a":
            self.links.add(told.get("href", ""))
        elif tag == "link" and told.get("rel") != "canonical":
            self.loads.add(told.get("href", ""))
        self.loads |= {told[name] for name in ("src", "srcset", "data") if name in told}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site") / "site"
    try:
        build(place)
    except subprocess.CalledProcessError as refused:
        pytest.fail(str(refused.stdout))
    return place


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page.read_text()) for page in site.rglob("*.html")}


def test_every_page_of_the_documentation_is_in_the_site(pages: dict[Path, Links], site: Path) -> None:
    made = {str(page.relative_to(site)) for page in pages}
    written = {
        str(page.relative_to(ROOT / "docs").with_suffix(".html")) for page in (ROOT / "docs").rglob("*.md")
    }
    expected = {name.replace("README.html", "index.html") for name in written}
    assert expected | {name.replace(".md", ".html") for name in reference.pages()} <= made


def test_every_link_of_the_site_leads_somewhere(pages: dict[Path, Links], site: Path) -> None:
    faults = defaultdict(list)
    for page, found in pages.items():
        for link in found.links | found.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and target in pages and not _has(pages[target], parts.fragment)
            ):
                faults[str(page.relative_to(site))].append(link)
    assert faults == {}


def _has(page: Links, fragment: str) -> bool:
    return unquote(fragment) in page.anchors or fragment.startswith("__")


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Links], site: Path) -> None:
    outside = {link for found in pages.values() for link in found.loads if urlsplit(link).netloc}
    assert outside == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", sheet.read_text()), sheet


@pytest.mark.parametrize("link", ["nothing.md", "index.md#nowhere"])
def test_a_link_that_leads_nowhere_fails_the_build(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(docs: Path) -> None:
        (docs / "theme").mkdir(parents=True)
        (docs / "index.md").write_text(f"# Trivet\n\n[there is none]({link})\n")

    monkeypatch.setattr(website.build, "gather", gather)
    with pytest.raises(CalledProcessError) as failed:
        build(tmp_path / "site")
    assert "index.md:3" in failed.value.stdout
    assert not (tmp_path / "site").exists()


def test_a_page_that_nobody_gave_a_place_is_in_the_navigation_all_the_same() -> None:
    told = json.dumps(
        navigation(["index.md", "quickstart.md", "new-thing.md", "adr/0001-layout-and-layers.md"])
    )
    assert "new-thing.md" in told
    assert "tutorials/first-cluster.md" not in told


def test_the_reference_has_every_operation_object_command_setting_and_error() -> None:
    made = reference.pages()
    document = json.loads(openapi_document())
    for methods in document["paths"].values():
        for operation in methods.values():
            assert f"### {operation['operationId']}\n" in made["reference/rest.md"]
    for name in document["components"]["schemas"]:
        assert f"\n## {name}\n" in made["reference/objects.md"]
    for name in ServerSettings.model_fields | ClientSettings.model_fields:
        assert re.search(rf"^\| `{name}` \|.*\| \S.* \|$", made["reference/settings.md"], re.MULTILINE), name
    for slug, shown in RENDERINGS.items():
        assert f"| `{slug}` | {shown.status} |" in made["reference/errors.md"]
    for name in getattr(typer.main.get_command(app), "commands"):  # noqa: B009  Click's, by way of Typer
        assert f"\n## trivet {name}\n" in made["reference/command.md"]
    for name in ("trivet_decisions_total", "trivet_database_up", "trivet_agent_outage_budget_seconds"):
        assert f"| `{name}` |" in made["reference/metrics.md"]
