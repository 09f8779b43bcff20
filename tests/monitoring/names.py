"""Which metrics and labels an expression of PromQL names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from tests.monitoring.promtool import ROOT, RULES

DASHBOARDS = ROOT / "deploy/monitoring/grafana/dashboards"
# Prometheus itself adds these.
TARGET_LABELS = {"job", "instance"}
_WORDS = {
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
}
_GROUPING = r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)"
_MATCHER = r'(\w+)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"'


@dataclass
class Named:
    """What an expression names: metrics, each with the labels of its matchers; and labels that it groups by."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)


def named(expression: str) -> Named:
    """Read an expression."""
    found = Named()
    for inside in re.findall(_GROUPING, expression):
        found.groups |= {label.strip() for label in inside.split(",") if label.strip()}
    bare = re.sub(_GROUPING, " ", expression)
    for metric, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\s*{((?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*)}", bare):
        found.metrics.setdefault(metric, set()).update(re.findall(_MATCHER, matchers))
    bare = re.sub(r"{(?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*}", " ", bare)
    bare = re.sub(r"\[[^\]]*\]|\b\d[\w.]*", " ", bare)
    for word, call in re.findall(r"([a-zA-Z_:][\w:]*)(\s*\()?", bare):
        if not call and word not in _WORDS:
            found.metrics.setdefault(word, set())
    return found


def expressions_of_rules() -> Iterator[tuple[str, str]]:
    """Every rule's name and expression."""
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]


def expressions_of_dashboards() -> Iterator[tuple[str, str]]:
    """Every panel's name and expressions, and the variables' queries."""
    for file in sorted(DASHBOARDS.glob("*.json")):
        page = json.loads(file.read_text())
        for panel in page["panels"]:
            for target in panel["targets"]:
                yield f"{page['title']} / {panel['title']}", target["expr"]
        for variable in page["templating"]["list"]:
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert query is not None, variable
                yield f"{page['title']} / ${variable['name']}", f"count by ({query[2]}) ({query[1]})"


def expressions() -> list[tuple[str, str]]:
    """All of them."""
    return [*expressions_of_rules(), *expressions_of_dashboards()]


def records() -> dict[str, set[str]]:
    """The names of recording rules, each with the labels that its name begins with."""
    return {
        name: set(name.partition(":")[0].split("_")) if ":" in name else set()
        for name, _ in expressions_of_rules()
        if ":" in name
    }


def documented(page: Path) -> str:
    """A page as text."""
    return page.read_text()
