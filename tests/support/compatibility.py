"""What in a new OpenAPI document breaks a client that was written, or generated, for the old one.

It knows the part of OpenAPI and JSON Schema that Trivet's document uses. What is sent may be asked less of and allowed
more; what is answered, the other way round. Names count as well: SDKs make methods
and classes of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["sent", "answered"]
JSON = dict[str, Any]
_METHODS = ("get", "put", "post", "delete", "patch")
_UPPER, _LOWER = ("maximum", "maxLength", "maxItems"), ("minimum", "minLength", "minItems")


@dataclass(frozen=True)
class Break:
    """One thing that breaks clients: `subject` is the operationId or the schema that a CHANGELOG has to name."""

    subject: str
    detail: str

    def __str__(self) -> str:
        return f"`{self.subject}`: {self.detail}"


def breaks(old: JSON, new: JSON) -> list[Break]:
    """All that breaks, in the order of the old document."""
    comparison = _Comparison(old, new)
    found = [*comparison.operations(), *comparison.names()]
    return list(dict.fromkeys(found))


@dataclass
class _Comparison:
    old: JSON
    new: JSON
    seen: set[tuple[str, str, str]] = field(default_factory=set)

    def names(self) -> Iterator[Break]:
        """Schemas that are gone; their members are compared where they are used."""
        present = self.new["components"]["schemas"]
        for name in self.old["components"]["schemas"]:
            if name not in present:
                yield Break(name, "the schema is gone")

    def operations(self) -> Iterator[Break]:
        """Operations, by method and path."""
        for path, item in self.old["paths"].items():
            for method in _METHODS:
                if method not in item:
                    continue
                old, new = item[method], self.new["paths"].get(path, {}).get(method)
                name = old["operationId"]
                if new is None:
                    yield Break(name, f"{method.upper()} {path} is gone")
                    continue
                if new["operationId"] != name:
                    yield Break(name, f"is called {new['operationId']} now")
                yield from self._parameters(name, old, new)
                yield from self._body(name, old.get("requestBody"), new.get("requestBody"))
                yield from self._responses(name, old["responses"], new["responses"])
                yield from _security(name, old, new)

    def _parameters(self, name: str, old: JSON, new: JSON) -> Iterator[Break]:
        before, after = _by_place(old), _by_place(new)
        for place, parameter in before.items():
            if place not in after:
                yield Break(name, f"the parameter {place[1]} is gone")
                continue
            yield from self._schemas(name, place[1], parameter["schema"], after[place]["schema"], "sent")
        for place, parameter in after.items():
            was_required = before.get(place, {}).get("required", False)
            if parameter.get("required", False) and not was_required:
                yield Break(name, f"the parameter {place[1]} is required")

    def _body(self, name: str, old: JSON | None, new: JSON | None) -> Iterator[Break]:
        before, after = (old or {}).get("content", {}), (new or {}).get("content", {})
        if (new or {}).get("required", False) and not (old or {}).get("required", False):
            yield Break(name, "a body is required")
        for media_type, content in before.items():
            if media_type not in after:
                yield Break(name, f"no {media_type} is accepted")
                continue
            yield from self._schemas(name, "body", content["schema"], after[media_type]["schema"], "sent")

    def _responses(self, name: str, old: JSON, new: JSON) -> Iterator[Break]:
        for status, response in old.items():
            if status not in new:
                yield Break(name, f"it no longer answers {status}")
                continue
            present = new[status].get("content", {})
            for media_type, content in response.get("content", {}).items():
                if media_type not in present:
                    yield Break(name, f"{status} is no longer answered as {media_type}")
                    continue
                pair = content["schema"], present[media_type]["schema"]
                yield from self._schemas(name, f"answer {status}", *pair, "answered")
            for header in response.get("headers", {}):
                if header not in new[status].get("headers", {}):
                    yield Break(name, f"{status} no longer has the header {header}")

    def _schemas(
        self, subject: str, where: str, old: JSON, new: JSON, direction: Direction
    ) -> Iterator[Break]:
        first, second = old.get("$ref", ""), new.get("$ref", "")
        if first and second:
            if (first, second, direction) in self.seen:
                return
            self.seen.add((first, second, direction))
            if first != second:
                yield Break(subject, f"{where} is {_last(second)} and no longer {_last(first)}")
        if first:
            subject, where = _last(first), "it"
        old, new = self._resolved(self.old, old), self._resolved(self.new, new)
        yield from _values(subject, where, old, new, direction)
        yield from _bounds(subject, where, old, new, direction)
        yield from self._choices(subject, where, old, new, direction)
        yield from self._members(subject, where, old, new, direction)
        if "items" in old and "items" in new:
            yield from self._schemas(subject, f"an item of {where}", old["items"], new["items"], direction)

    def _choices(
        self, subject: str, where: str, old: JSON, new: JSON, direction: Direction
    ) -> Iterator[Break]:
        """The kinds of a value: what was accepted must be, and what is answered must have been known."""
        before, after = self._kinds(self.old, old), self._kinds(self.new, new)
        known, met = (after, before) if direction == "sent" else (before, after)
        for kind in met.keys() - known.keys():
            if kind == "integer" and "number" in known:
                continue
            yield Break(subject, f"{where} {'may not' if direction == 'sent' else 'may'} be {kind}")
        if "anyOf" in old or "anyOf" in new:
            for kind in before.keys() & after.keys():
                yield from self._schemas(subject, where, before[kind], after[kind], direction)

    def _kinds(self, document: JSON, schema: JSON) -> dict[str, JSON]:
        """The choices of a schema by their type; named ones by their name."""
        found: dict[str, JSON] = {}
        for choice in schema.get("anyOf", [schema]):
            resolved = self._resolved(document, choice)
            name = _last(choice["$ref"]) if "$ref" in choice and "anyOf" in schema else ""
            kind = resolved.get("type", "")
            found[name if name and kind == "object" else kind] = choice
        return {kind: choice for kind, choice in found.items() if kind}

    def _members(
        self, subject: str, where: str, old: JSON, new: JSON, direction: Direction
    ) -> Iterator[Break]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed_before, needed_after = set(old.get("required", [])), set(new.get("required", []))
        for name, schema in before.items():
            if name not in after:
                yield Break(subject, f"the member {name} is gone")
                continue
            yield from self._schemas(subject, f"the member {name}", schema, after[name], direction)
        if direction == "sent":
            for name in sorted(needed_after - needed_before):
                yield Break(subject, f"the member {name} is required")
            if (
                old.get("additionalProperties", True) is not False
                and new.get("additionalProperties") is False
            ):
                yield Break(subject, f"{where} may have no other members")
        else:
            for name in sorted((needed_before - needed_after) & after.keys()):
                yield Break(subject, f"the member {name} may be absent")

    @staticmethod
    def _resolved(document: JSON, schema: JSON) -> JSON:
        if "$ref" not in schema:
            return schema
        found: JSON = document["components"]["schemas"].get(_last(schema["$ref"]), {})
        return found


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def _by_place(operation: JSON) -> dict[tuple[str, str], JSON]:
    return {(one["in"], one["name"]): one for one in operation.get("parameters", [])}


def _security(name: str, old: JSON, new: JSON) -> Iterator[Break]:
    for way in old.get("security", []):
        if way not in new.get("security", []):
            yield Break(name, f"{' and '.join(way) or 'nobody in particular'} may no longer ask")


def _values(subject: str, where: str, old: JSON, new: JSON, direction: Direction) -> Iterator[Break]:
    before, after = _listed(old), _listed(new)
    if direction == "sent":
        gone = (before or set()) - after if after is not None and before is not None else set()
        for value in sorted(gone):
            yield Break(subject, f"{where} may not be {value!r}")
        if before is None and after is not None:
            yield Break(subject, f"{where} takes only some values")
    else:
        for value in sorted((after or set()) - before if before is not None and after is not None else ()):
            yield Break(subject, f"{where} may be {value!r}")
        if before is not None and after is None:
            yield Break(subject, f"{where} may have any value")


def _listed(schema: JSON) -> set[str] | None:
    if "const" in schema:
        return {str(schema["const"])}
    return {str(value) for value in schema["enum"]} if "enum" in schema else None


def _bounds(subject: str, where: str, old: JSON, new: JSON, direction: Direction) -> Iterator[Break]:
    """Bounds of what is sent may not grow narrower; of what is answered nobody relies on them."""
    if direction == "answered":
        return
    for name in _UPPER:
        if new.get(name, float("inf")) < old.get(name, float("inf")):
            yield Break(subject, f"{where} has a {name} of {new[name]}")
    for name in _LOWER:
        if new.get(name, float("-inf")) > old.get(name, float("-inf")):
            yield Break(subject, f"{where} has a {name} of {new[name]}")
    for name in ("pattern", "format"):
        if new.get(name) is not None and new.get(name) != old.get(name):
            yield Break(subject, f"{where} has the {name} {new[name]}")
