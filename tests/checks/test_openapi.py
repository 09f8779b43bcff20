from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from trivet.bootstrap.document import openapi_document

FILE = Path(__file__).resolve().parents[2] / "openapi" / "openapi.json"
# Verbs that SDKs' methods begin with; "search" or "fetch" beside "list" and "get" would only confuse.
VERB = re.compile(r"(create|list|get|replace|delete|issue|renew|explain|export|approve|deny)[A-Z][A-Za-z]+")


@cache
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(openapi_document())
    return made


def operations() -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    }


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == openapi_document(), "run make openapi"


def test_the_document_is_valid() -> None:
    assert document()["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    schemas = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    assert references(document()) == schemas


def test_operation_ids_make_good_method_names() -> None:
    ids = [operation["operationId"] for operation in operations().values()]
    assert [name for name in ids if not VERB.fullmatch(name)] == []
    assert len({name.lower() for name in ids}) == len(ids)


def test_schemas_make_good_class_names() -> None:
    assert [
        name for name in document()["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)
    ] == []


def test_every_operation_says_what_it_does_who_may_and_how_it_refuses() -> None:
    tags = {tag["name"] for tag in document()["tags"]}
    for place, operation in operations().items():
        assert operation["summary"], place
        assert operation["description"], place
        assert len(operation["tags"]) == 1, place
        assert operation["tags"][0] in tags, place
        assert operation["security"], place
        assert operation["x-trivet-permission"], place
        refusal = operation["responses"]["default"]["content"]
        assert refusal == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }, place
        assert "422" not in operation["responses"], place


def test_every_parameter_of_a_path_is_declared() -> None:
    for place, operation in operations().items():
        declared = [item["name"] for item in operation.get("parameters", []) if item["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", place), place


def test_what_clients_send_has_an_example_and_is_read_strictly() -> None:
    for place, operation in operations().items():
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if kind not in {"application/json", "application/yaml"}:
                continue
            name = content["schema"]["$ref"].rpartition("/")[2]
            schema = document()["components"]["schemas"][name]
            assert schema["examples"], place
            assert name == "RenewRevocation" or schema["additionalProperties"] is False, place


def test_what_is_created_again_is_created_once() -> None:
    for place, operation in operations().items():
        if "201" in operation["responses"]:
            assert "Idempotency-Key" in [item["name"] for item in operation["parameters"]], place
