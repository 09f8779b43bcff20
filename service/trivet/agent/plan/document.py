"""YAML as the values of JSON, with the place of each in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import yaml

from trivet.agent.plan.errors import BadPlanError, PlanFault
from trivet.pki.documents import escape

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Mark(Protocol):
    """A place in a file, from 0; PyYAML has two classes for it."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 32  # a plan needs eight
_LONGEST_NUMBER: Final = 64
_PLAIN: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")}
_TEXT: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "value", "merge")}
_KNOWN: Final = _PLAIN | _TEXT | {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


@dataclass(slots=True)
class Document:
    """A value, and the line and column of each of its members by pointer.

    Attributes:
        value: as JSON has it: text, numbers, booleans, None, lists, and mappings with keys of text.
        marks: pointer → line and column, from 1; of a mapping's member, those of its key.
        faults: what JSON cannot say: keys that stand twice, tags, keys that are no text.
    """

    value: object = None
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[PlanFault] = field(default_factory=list)

    def place(self, pointer: str) -> tuple[int, int]:
        """The line and column of a member, or, where it is missing, of what it should stand in."""
        while pointer not in self.marks and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.marks.get(pointer, (1, 1))

    def fault(self, pointer: str, message: str) -> PlanFault:
        """What is wrong at a pointer, with its place."""
        return PlanFault(*self.place(pointer), pointer, message)


def read_document(text: bytes, source: str) -> Document:
    """Read one YAML (or JSON) document. Anchors and aliases are refused: they would hide what a line says.

    Raises:
        BadPlanError: it is not one YAML document.
    """
    if len(text) > MAX_BYTES:
        raise _unreadable(source, f"a plan has at most {MAX_BYTES} bytes")
    root = _root(text, source)
    if root is None:
        raise _unreadable(source, "it is empty")
    document = Document()
    document.value = _value(document, root, "")
    return document


def _root(text: bytes, source: str) -> yaml.Node | None:
    try:
        decoded = text.decode("utf-8-sig")
        return _Composer(decoded, source).get_single_node()
    except UnicodeDecodeError as error:
        place = _Place.at(text[: error.start].decode())
        raise _unreadable(source, "it is not UTF-8 text", place) from error
    except yaml.reader.ReaderError as error:
        place = _Place.at(decoded[: error.position])
        raise _unreadable(source, "it is not YAML: it holds a control character", place) from error
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(source, f"it is not YAML: {problem}", error.problem_mark) from error
    except BadPlanError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML's scanner lets a ValueError through where an escape names no character.
        raise _unreadable(source, "it is not YAML") from error


class _Composer(yaml.SafeLoader):
    """Refuses what would hide, or grow without end, before anything is made of it."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self._source, self._depth = source, 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            message = "anchors and aliases are not accepted; write it out"
            raise _unreadable(self._source, message, event.start_mark)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            message = f"it is nested deeper than {_MAX_DEPTH} levels"
            raise _unreadable(self._source, message, event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass(frozen=True, slots=True)
class _Place:
    line: int
    column: int

    @classmethod
    def at(cls, before: str) -> _Place:
        """The place behind a text."""
        return cls(before.count("\n"), len(before) - before.rfind("\n") - 1)


def _unreadable(source: str, message: str, mark: _Mark | None = None) -> BadPlanError:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return BadPlanError(source, [PlanFault(line, column, "", message)])


def _value(document: Document, node: yaml.Node, pointer: str) -> object:
    document.marks.setdefault(pointer, _mark(node))
    if node.tag not in _KNOWN:
        message = f"the tag {node.tag} is not accepted; write text, numbers, lists and mappings only"
        document.faults.append(PlanFault(*_mark(node), pointer, message))
    match node:
        case yaml.MappingNode():
            return dict(_members(document, node, pointer))
        case yaml.SequenceNode():
            return [_value(document, item, f"{pointer}/{index}") for index, item in enumerate(node.value)]
        case yaml.ScalarNode(tag=tag) if tag in _PLAIN:
            return _scalar(node)
        case _:
            return str(node.value)


def _scalar(node: yaml.ScalarNode) -> object:
    if len(node.value) > _LONGEST_NUMBER:
        return node.value
    try:
        value: object = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, LookupError):  # 0o9 looks like a number and is none; nor is !!bool maybe
        return node.value
    return value


def _members(document: Document, node: yaml.MappingNode, pointer: str) -> Iterator[tuple[str, object]]:
    seen: set[str] = set()
    for key, item in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        place = f"{pointer}/{escape(name)}"
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXT:
            document.faults.append(PlanFault(*_mark(key), place, "a field's name must be text (quote it)"))
            continue
        if name in seen:
            document.faults.append(PlanFault(*_mark(key), place, "this field stands twice; remove one"))
            continue
        seen.add(name)
        document.marks[place] = _mark(key)
        yield name, _value(document, item, place)


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
