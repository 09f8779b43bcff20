from __future__ import annotations

import json
from typing import Any, is_typeddict

import pytest

from trivet.bootstrap.document import openapi_document
from trivet.client import repair_schemas, request_schemas, revocation_schemas, schemas

TYPES = {
    name: kind
    for module in (schemas, revocation_schemas, repair_schemas, request_schemas)
    for name, kind in vars(module).items()
    if is_typeddict(kind) and name != "Page"
}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """Give the schemas of the OpenAPI document."""
    found: dict[str, Any] = json.loads(openapi_document())["components"]["schemas"]
    return found


@pytest.mark.parametrize("name", sorted(TYPES.keys() - {"Considered"}))
def test_the_clients_types_have_the_members_of_the_openapi_document(
    name: str, described: dict[str, Any]
) -> None:
    kind = TYPES[name]
    assert set(kind.__annotations__) == set(described[name]["properties"])
