"""The reference of the REST API, made from the OpenAPI document."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from trivet.bootstrap.document import openapi_document

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCUMENT: Final = (
    "The same as OpenAPI 3.1: `trivet openapi`, or `/api/v1/openapi.json` of a running service, which has"
    " `/docs` to try it. This page is made from it. [With curl](../rest.md) · [errors](errors.md).\n"
)
_OBJECTS: Final = "objects.md"


@cache
def _document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(openapi_document())
    return made


def operations() -> str:
    """A section for each tag, in it one for each operation."""
    by_tag: defaultdict[str, list[str]] = defaultdict(list)
    for path, methods in _document()["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append("".join(_operation(method, path, operation)))
    sections = [f"\n## {tag.capitalize()}\n{''.join(texts)}" for tag, texts in sorted(by_tag.items())]
    return f"# REST: operations\n\n{_DOCUMENT}{''.join(sections)}"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {operation['operationId']}\n\n`{method.upper()} {path}`\n"
    yield f"\n{_words(operation.get('description', ''))}\n"
    if permission := operation.get("x-trivet-permission"):
        yield f"\nPermission: `{permission}`.\n"
    if parameters := operation.get("parameters"):
        yield "\n| parameter | in | required | what |\n| --- | --- | --- | --- |\n"
        for one in parameters:
            required = "yes" if one.get("required") else ""
            yield f"| `{one['name']}` | {one['in']} | {required} | {_cell(one.get('description', ''))} |\n"
    if body := operation.get("requestBody"):
        yield f"\nBody: {_contents(body['content'])}.\n"
    for status, answer in operation["responses"].items():
        if status != "default" and answer.get("content"):
            yield f"\nAnswer {status}: {_contents(answer['content'])}.\n"


def _contents(contents: dict[str, Any]) -> str:
    return "; ".join(
        f"`{kind}`"
        + (f" {shown}" if (shown := _type(content.get("schema", {}), _OBJECTS)) not in {"", "string"} else "")
        for kind, content in contents.items()
    )


def objects() -> str:
    """A section for each schema: its members."""
    schemas: dict[str, dict[str, Any]] = _document()["components"]["schemas"]
    sections = ["".join(_schema(name, schema)) for name, schema in sorted(schemas.items())]
    return f"# REST: objects\n\n{_DOCUMENT}{''.join(sections)}"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {name}\n\n{_words(schema.get('description', ''))}\n"
    if values := schema.get("enum"):
        yield "\nOne of " + ", ".join(f"`{value}`" for value in values) + ".\n"
    if members := schema.get("properties"):
        yield "\n| member | type | required | what |\n| --- | --- | --- | --- |\n"
        for member, of in members.items():
            required = "yes" if member in schema.get("required", ()) else ""
            yield f"| `{member}` | {_cell(_type(of, ''))} | {required} | {_cell(of.get('description', ''))} |\n"


def _type(schema: dict[str, Any], page: str) -> str:
    """A schema in a few words, with links to others."""
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        return f"[{name}]({page}#{name.lower()})"
    if any_of := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one, page) for one in any_of if one.get("type") != "null"))
    if values := schema.get("enum"):
        return " or ".join(f"`{value}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), page)}"
    kind = schema.get("format") or schema.get("type", "")
    return f"`{schema['const']}`" if "const" in schema else str(kind)


def _words(text: str) -> str:
    return text.strip().replace("\n    ", "\n")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
