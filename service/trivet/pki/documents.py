"""Reading a document strictly: every fault is noted with its RFC 6901 pointer, none ends the reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from trivet.pki.errors import Fault
from trivet.pki.names import is_plain

MAX_TEXT = 1024
MAX_TEXTS = 256 * 1024  # all annotations together, as Kubernetes limits them (ValidateAnnotations)
_MAX_KEY_SHOWN = 100

T = TypeVar("T")


class Reader:
    """Walks a document. What it cannot accept it notes in `faults` and answers with None."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, pointer: str, message: str) -> None:
        """Note what is wrong at a place, and what would be accepted."""
        self.faults.append(Fault(pointer, message))

    def mapping(self, value: object, pointer: str, allowed: set[str]) -> Mapping[str, object] | None:
        """Read an object that has the allowed members only; one that is null counts as absent."""
        known = ", ".join(sorted(allowed))
        if not isinstance(value, Mapping):
            self.fault(pointer, f"must be an object with {known}")
            return None
        for key in value:
            if key not in allowed:
                self.fault(f"{pointer}/{escape(str(key))}", f"unknown field; known are {known}")
        return {key: item for key, item in value.items() if item is not None}

    def text(self, value: object, pointer: str, *, limit: int = MAX_TEXT) -> str | None:
        """Read text, which may have line breaks and tabs."""
        if value is None:
            self.fault(pointer, "is required")
        elif not isinstance(value, str):
            self.fault(
                pointer, "must be a string" + (" (quote it)" if isinstance(value, int | float) else "")
            )
        elif len(value) > limit:
            self.fault(pointer, f"must be at most {limit} characters")
        elif not is_plain(value.replace("\r\n", "").replace("\n", "").replace("\t", "")):
            self.fault(pointer, "must not hold control characters")
        else:
            return value
        return None

    def parsed(self, value: object, pointer: str, parse: Callable[[str], T]) -> T | None:
        """Read text and what it means; the parser's ValueError says what is accepted."""
        text = self.text(value, pointer)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.fault(pointer, str(error))
            return None

    def texts(self, value: object, pointer: str) -> dict[str, str]:
        """Read an object whose members are texts of any name."""
        if not isinstance(value, Mapping):
            self.fault(pointer, "must be an object whose values are strings")
            return {}
        texts: dict[str, str] = {}
        for key, item in value.items():
            place = f"{pointer}/{escape(str(key))}"
            text = self.text(item, place, limit=MAX_TEXTS)
            if not is_plain(str(key)):
                self.fault(place, "its name must not hold control characters")
            texts[str(key)] = text or ""
        if sum(len(key) + len(text) for key, text in texts.items()) > MAX_TEXTS:
            self.fault(pointer, f"must be at most {MAX_TEXTS} characters in all")
        return texts


def escape(key: str) -> str:
    """A member's name as a pointer has it (RFC 6901 section 3), cut short where it is long."""
    # Half a surrogate pair in a pointer could not be sent back.
    shown = key[:_MAX_KEY_SHOWN].encode("utf-8", "replace").decode()
    return shown.replace("~", "~0").replace("/", "~1")
