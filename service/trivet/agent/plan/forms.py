"""What a field of a plan may hold: each form reads a value strictly, and says the same in JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Protocol

from trivet.pki.documents import MAX_TEXT, Reader, escape

Schema = dict[str, Any]
_MOST_UNKNOWN: Final = 20  # beyond this nobody wants each of them explained


class PlanReader(Reader):
    """A reader that names the nearest known field, and takes null for a mistake."""

    def mapping(self, value: object, pointer: str, allowed: set[str]) -> Mapping[str, object] | None:
        """Read an object that has the allowed members only."""
        if not isinstance(value, Mapping):
            self.fault(pointer, f"must be an object with {', '.join(sorted(allowed))}")
            return None
        if len(value) > len(allowed) + _MOST_UNKNOWN:
            self.fault(pointer, f"has {len(value)} fields; known are {', '.join(sorted(allowed))}")
            return None
        for key, item in value.items():
            if key not in allowed:
                self.fault(f"{pointer}/{escape(key)}", f"unknown field; {_suggestion(key, allowed)}")
            elif item is None:
                self.fault(f"{pointer}/{key}", "has no value; give it one, or leave the field out")
        return {key: item for key, item in value.items() if item is not None}


def _suggestion(key: str, allowed: set[str]) -> str:
    lower = {name.lower(): name for name in allowed}
    near = get_close_matches(key.lower(), lower, n=1)
    known = f"known are {', '.join(sorted(allowed))}"
    return f"did you mean {lower[near[0]]}? {known}" if near else known


class Form(Protocol):
    """A kind of value."""

    def schema(self) -> Schema:
        """The same in JSON Schema 2020-12."""

    def read(self, reader: PlanReader, value: object, pointer: str) -> Any:  # noqa: ANN401  what the form makes of it
        """Read a value; None, and a fault, where it is not acceptable."""

    def words(self) -> str:
        """What it may be, for the reference page."""


@dataclass(frozen=True)
class Text:
    """Text that matches a pattern (of ECMA-262 and Python alike), and what it means.

    Attributes:
        accepted: the pattern in words.
        pattern: of the whole text.
        meaning: makes a value of it; its ValueError says what is accepted. What it refuses beyond the pattern, JSON
            Schema cannot say.
    """

    accepted: str
    pattern: str
    meaning: Callable[[str], Any] = str

    def schema(self) -> Schema:
        """A string with the pattern."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "maxLength": MAX_TEXT}

    def read(self, reader: PlanReader, value: object, pointer: str) -> Any:  # noqa: ANN401
        """Read text and what it means."""
        return reader.parsed(value, pointer, self._meant)

    def _meant(self, text: str) -> Any:  # noqa: ANN401
        if not re.fullmatch(self.pattern, text):
            message = f"must be {self.accepted}"
            raise ValueError(message)
        return self.meaning(text)

    def words(self) -> str:
        """What it may be."""
        return self.accepted


@dataclass(frozen=True)
class Choice:
    """One of a few texts.

    Attributes:
        values: the texts.
        meaning: makes a value of one.
        listed: where the reference page lists them; else it does itself.
    """

    values: tuple[str, ...]
    meaning: Callable[[str], Any] = str
    listed: str | None = None

    def schema(self) -> Schema:
        """A string of the enumeration."""
        return {"type": "string", "enum": list(self.values)}

    def read(self, reader: PlanReader, value: object, pointer: str) -> Any:  # noqa: ANN401
        """Read one of them."""
        return reader.parsed(value, pointer, self._meant)

    def _meant(self, text: str) -> Any:  # noqa: ANN401
        if text not in self.values:
            near = get_close_matches(text, self.values, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            message = f"must be one of {', '.join(self.values)}{hint}"
            raise ValueError(message)
        return self.meaning(text)

    def words(self) -> str:
        """What it may be."""
        return self.listed or " or ".join(f"`{value}`" for value in self.values)


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    def schema(self) -> Schema:
        """A boolean."""
        return {"type": "boolean"}

    def read(self, reader: PlanReader, value: object, pointer: str) -> bool | None:
        """Read it."""
        if isinstance(value, bool):
            return value
        reader.fault(pointer, "must be true or false")
        return None

    def words(self) -> str:
        """What it may be."""
        return "`true` or `false`"


@dataclass(frozen=True)
class Listing:
    """A list of one form."""

    of: Form
    longest: int
    shortest: int = 0

    def schema(self) -> Schema:
        """An array."""
        limits: Schema = {"minItems": self.shortest} if self.shortest else {}
        return {"type": "array", "items": self.of.schema(), "maxItems": self.longest, **limits}

    def read(self, reader: PlanReader, value: object, pointer: str) -> list[Any] | None:
        """Read each; what could not be read is None."""
        if not isinstance(value, list):
            reader.fault(pointer, "must be a list")
            return None
        if not self.shortest <= len(value) <= self.longest:
            reader.fault(pointer, f"must have {self.shortest} to {self.longest} items, not {len(value)}")
            return None
        return [self.of.read(reader, item, f"{pointer}/{index}") for index, item in enumerate(value)]

    def words(self) -> str:
        """What it may be."""
        return f"list of: {self.of.words()}"


@dataclass(frozen=True)
class Field:
    """A member of an object: its name, what it may hold, and what it is for."""

    name: str
    form: Form
    about: str
    required: bool = False
    default: str | bool | None = None

    def schema(self) -> Schema:
        """The form's schema, with description and default."""
        default = {} if self.default is None else {"default": self.default}
        return {"description": self.about, **self.form.schema(), **default}


@dataclass(frozen=True)
class Members:
    """An object with known members only.

    Attributes:
        title: what it is called on the reference page.
        fields: its members, in the order in which they are shown.
        together: what JSON Schema says of several members together; the reader's rules for that are in `checks`.
    """

    title: str
    fields: tuple[Field, ...]
    together: Schema = field(default_factory=dict)

    def schema(self) -> Schema:
        """An object without other members."""
        return {
            "type": "object",
            "properties": {member.name: member.schema() for member in self.fields},
            "required": [member.name for member in self.fields if member.required],
            "additionalProperties": False,
            **self.together,
        }

    def read(self, reader: PlanReader, value: object, pointer: str) -> dict[str, Any] | None:
        """Read each member that is there; defaults take the place of those that are not."""
        found = reader.mapping(value, pointer, {member.name for member in self.fields})
        if found is None:
            return None
        read: dict[str, Any] = {}
        for member in self.fields:
            place = f"{pointer}/{member.name}"
            written = found.get(member.name, member.default)
            if written is not None:
                read[member.name] = member.form.read(reader, written, place)
            elif member.required and not (isinstance(value, Mapping) and member.name in value):
                reader.fault(place, f"is required: {member.about}")
        return read

    def words(self) -> str:
        """What it may be."""
        return f"[{self.title}](#{self.title.lower()})"
