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

    line: int
    column: int


MAX_BYTES: Final = 512 * 1024
_PLAIN: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")}
_TEXT: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "value", "merge")}


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
    try:
        decoded = text.decode()
        for event in yaml.parse(decoded, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise _unreadable(
                    source, "anchors and aliases are not accepted; write it out", event.start_mark
                )
        root = yaml.compose(decoded, yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _unreadable(source, "it is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(source, f"it is not YAML: {problem}", error.problem_mark) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _unreadable(source, "it is not YAML, or nested without end") from error
    document = Document()
    if root is None:
        raise _unreadable(source, "it is empty")
    document.value = _value(document, root, "")
    return document


def _unreadable(source: str, message: str, mark: _Mark | None = None) -> BadPlanError:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return BadPlanError(source, [PlanFault(line, column, "", message)])


def _value(document: Document, node: yaml.Node, pointer: str) -> object:
    document.marks.setdefault(pointer, _mark(node))
    match node:
        case yaml.MappingNode():
            return dict(_members(document, node, pointer))
        case yaml.SequenceNode():
            return [_value(document, item, f"{pointer}/{index}") for index, item in enumerate(node.value)]
        case yaml.ScalarNode(tag=tag) if tag in _PLAIN:
            return _scalar(node)
        case _:
            if node.tag not in _TEXT:
                message = f"the tag {node.tag} is not accepted; write text, numbers, lists and mappings only"
                document.faults.append(PlanFault(*_mark(node), pointer, message))
            return str(node.value)


def _scalar(node: yaml.ScalarNode) -> object:
    try:
        value: object = yaml.constructor.SafeConstructor().construct_object(node)
    except ValueError:  # 0o9 looks like a number and is none
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
