"""Schemas as a person would write them, so that names which generators make of them read well."""

from __future__ import annotations

from typing import Any, Final

_NULL: Final = {"type": "null"}
# Their members are values, not schemas, or are named by whoever wrote the schema.
_VALUES: Final = frozenset({"const", "default", "enum", "example", "examples", "required"})
_NAMED: Final = frozenset({"properties", "schemas"})


def as_written(schema: Any) -> Any:  # noqa: ANN401  any JSON
    """A schema, or a part of a document, without what Pydantic makes up: titles ("Serialnumber"), defaults of null."""
    if isinstance(schema, list):
        return [as_written(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for name, value in schema.items():
        if name == "default" and value is None:
            continue  # says nothing
        if name in _VALUES:
            kept[name] = value
        elif name in _NAMED:
            kept[name] = {own: as_written(one) for own, one in value.items()}
        elif name != "title" or not isinstance(value, str):
            kept[name] = as_written(value)
    return kept


def never_null(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out or has a value: neither a query nor a header can say null."""
    schema = dict(parameter["schema"])
    choices = [choice for choice in schema.get("anyOf", []) if choice != _NULL]
    if len(choices) == 1:
        del schema["anyOf"]
        schema = choices[0] | schema
    schema.pop("description", None)  # stands on the parameter
    return parameter | {"schema": schema}
