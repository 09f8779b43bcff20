"""The JSON Schema and the reference page of plans: made from the table of fields, and found out of date here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.pki.golden import check_golden

from trivet.agent.plan import BadPlanError, parse_plan
from trivet.agent.plan.builtin import BUILT_IN, Choices, built_in_plan
from trivet.agent.plan.forms import Field, Members
from trivet.agent.plan.table import OBJECTS, plan_schema

SCHEMA = "docs/reference/certificate-plan.schema.json"
PAGE = """\
# Fields of a plan

What a `CertificatePlan` may say; [Plans](../plans.md) says how to use one. This page and the
[JSON Schema](certificate-plan.schema.json) are made from the table in the code
(`service/trivet/agent/plan/table.py`) by a test, which also finds them out of date. Fields that are not listed are
refused; a field without a value is refused, too.

{objects}"""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(field: Field) -> str:
    default = "" if field.default is None else f"`{json.dumps(field.default)}`"
    cells = (
        f"`{field.name}`",
        "yes" if field.required else "",
        cell(field.form.words()),
        default,
        cell(field.about),
    )
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def section(members: Members) -> str:
    head = "| field | required | may be | default | what |\n| --- | --- | --- | --- | --- |"
    return f"## {members.title}\n\n{head}\n" + "".join(f"{row(field)}\n" for field in members.fields)


def test_the_reference_page_tells_every_field_as_it_is() -> None:
    check_golden("docs/reference/plans.md", PAGE.format(objects="\n".join(map(section, OBJECTS))))


def test_the_schema_in_the_documentation_is_that_of_the_reader() -> None:
    check_golden(SCHEMA, json.dumps(plan_schema(), indent=2) + "\n")


def checked(*files: Path | str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--schemafile", str(root / SCHEMA)]
    return subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False, timeout=60
    )


def test_every_built_in_plan_follows_the_schema(tmp_path: Path) -> None:
    files = []
    for name in BUILT_IN:
        for addresses in ((), ("10.0.0.10", "2001:db8::10")):
            choices = Choices("prod", "cp-1.example", "api.example:6443", addresses, dns_domain="k.local")
            files.append(tmp_path / f"{name}-{len(addresses)}.yaml")
            files[-1].write_text(built_in_plan(name, choices))
    done = checked(*files)
    assert done.returncode == 0, done.stdout


WORKER = yaml.safe_load(built_in_plan("worker", Choices("prod", "w-1", "api.example", ("10.0.0.11",))))
BOTH = {"name": "x", "profile": "etcd-peer", "certSANs": ["a"], "certFile": "/a.crt", "keyFile": "/a.key"}


WRONG: list[dict[str, Any]] = [
    BOTH | {"combinedFile": "/b.pem"},
    BOTH | {"keyFile": None},
    BOTH | {"certFile": "relative.crt"},
    BOTH | {"certFile": "/a/../b.crt"},
    BOTH | {"keyMode": "0644"},
    BOTH | {"keyMode": 600},
    BOTH | {"profile": "etcd-peeer"},
    BOTH | {"encryptionAlgorithm": "ECDSA-P256"},
    BOTH | {"certificateValidityPeriod": "4d"},
    BOTH | {"hook": {"command": "restart"}},
    BOTH | {"hook": {"command": []}},
    BOTH | {"unknown": 1},
    {key: value for key, value in BOTH.items() if key != "keyFile"},
]


def test_what_the_reader_refuses_the_schema_refuses_too(tmp_path: Path) -> None:
    files = []
    for number, certificate in enumerate(WRONG):
        plan = WORKER | {"spec": WORKER["spec"] | {"certificates": [certificate], "kubeconfigs": []}}
        with pytest.raises(BadPlanError, match="/spec/certificates/0"):
            parse_plan(json.dumps(plan).encode())
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(plan))
    done = checked("--output-format", "json", *files)
    assert {Path(error["filename"]) for error in json.loads(done.stdout)["errors"]} == set(files)
