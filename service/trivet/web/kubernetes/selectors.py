"""Label selectors and field selectors (apimachinery's pkg/labels/selector.go and pkg/fields/selector.go)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.web.kubernetes.status import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]
_MOST: Final = 100
_LONGEST: Final = 2048  # characters; each requirement is read in one pass, on the event loop
_PART: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_PART}"
_VALUE: Final = rf"(?:{_PART})?"
# Of what is stripped already: two runs of blanks side by side could be told apart in too many ways.
_EQUAL: Final = re.compile(rf"({_KEY})\s*(=|==|!=)\s*({_VALUE})")
_EXISTS: Final = re.compile(rf"(!?)\s*({_KEY})")
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_ORDER: Final = re.compile(rf"({_KEY})\s*([<>])\s*([0-9]{{1,18}})")
_FIELD: Final = re.compile(r"([^=!]+?)(==|!=|=)(.*)")


@dataclass(frozen=True, slots=True)
class Equals:
    """That a label or field has a value, or (where it `differs`) that it does not."""

    key: str
    value: str
    differs: bool = False

    def __call__(self, labels: Labels) -> bool:
        """Whether labels fulfil it."""
        return (labels.get(self.key) == self.value) is not self.differs


@dataclass(frozen=True, slots=True)
class Exists:
    """That there is a label of that name, or (where it is not `wanted`) that there is none."""

    key: str
    wanted: bool

    def __call__(self, labels: Labels) -> bool:
        """Whether labels fulfil it."""
        return (self.key in labels) is self.wanted


def label_selector(text: str) -> list[Requirement]:
    """Read a label selector; what it selects fulfils all requirements.

    Raises:
        StatusError: it is none.
    """
    _check_length("label", text)
    parts = _parts(text) if text.strip() else []
    _check_count("label", parts)
    return [_requirement(part.strip()) for part in parts]


def selects(requirements: Sequence[Requirement], labels: Labels) -> bool:
    """Whether labels fulfil all requirements."""
    return all(requirement(labels) for requirement in requirements)


def field_selector(text: str, supported: Sequence[str]) -> list[Equals]:
    """Read a field selector, over fields as a mapping from path to text.

    Raises:
        StatusError: it is none, has too many requirements, or names a field that is not supported.
    """
    _check_length("field", text)
    parts = [part for part in text.split(",") if part]
    _check_count("field", parts)
    return [_field_requirement(part, supported) for part in parts]


def _check_length(kind: str, text: str) -> None:
    if len(text) > _LONGEST:
        raise bad_request(f"a {kind} selector has at most {_LONGEST} characters, this one {len(text)}")


def _check_count(kind: str, parts: Sequence[str]) -> None:
    if len(parts) > _MOST:  # to read but some of them would select more than was asked for
        raise bad_request(f"a {kind} selector has at most {_MOST} requirements, this one {len(parts)}")


def _parts(text: str) -> list[str]:
    """What stands between the commas that are in no parentheses."""
    parts, begin, inside = [], 0, False
    for place, letter in enumerate(text):
        if letter in "()":
            inside = letter == "("
        elif letter == "," and not inside:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


def _requirement(text: str) -> Requirement:
    if match := _EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        return Equals(key, value, differs=operator == "!=")
    if match := _SET.fullmatch(text):
        values = tuple(value.strip() for value in match[3].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            return _is_one_of(match[1], values) if match[2] == "in" else _differs(match[1], values)
    if match := _ORDER.fullmatch(text):
        return _ordered(match[1], int(match[3]), greater=match[2] == ">")
    if match := _EXISTS.fullmatch(text):
        return Exists(match[2], wanted=not match[1])
    raise bad_request(f"unable to parse requirement: {text[:200]!r} is no requirement of a label selector")


def _is_one_of(key: str, values: Sequence[str]) -> Requirement:
    return lambda labels: labels.get(key) in values


def _differs(key: str, values: Sequence[str]) -> Requirement:
    return lambda labels: labels.get(key) not in values


def _ordered(key: str, bound: int, *, greater: bool) -> Requirement:
    def fulfils(labels: Labels) -> bool:
        value = labels.get(key, "")
        is_number = re.fullmatch(r"[0-9]{1,18}", value) is not None
        return is_number and (int(value) > bound if greater else int(value) < bound)

    return fulfils


def _field_requirement(text: str, supported: Sequence[str]) -> Equals:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise bad_request(f"invalid selector: {text[:200]!r}; can't understand it")
    field, operator, value = match.groups()
    if field not in supported:
        raise StatusError(400, "BadRequest", f"field label not supported: {field[:200]}")
    return Equals(field, value, differs=operator == "!=")
