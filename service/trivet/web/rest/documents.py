"""Read a JSON or YAML document without guessing: no implicit types, no aliases, no repeated keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from trivet.pki.errors import MalformedError
from trivet.web.problems import TooLargeError
from trivet.web.rest.negotiation import YAML

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_YAML_BYTES = 256 * 1024  # a thousand entries; PyYAML reads some 100 kB a second


class _PlainLoader(yaml.BaseLoader):
    """YAML whose scalars are all text: a serial of digits stays text, a time stays as it was written.

    Aliases are refused, because a few lines of them can stand for gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  PyYAML's own signature
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                message = f"the key {str(key.value)[:80]!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep=deep)


def read_document(body: bytes, media_type: str) -> object:
    """Read one document.

    Raises:
        TooLargeError: it is YAML, and longer than its slow parser should be given.
        MalformedError: it is not well formed, has aliases or repeats a key; the message says where.
    """
    if media_type == YAML and len(body) > MAX_YAML_BYTES:
        message = f"a YAML document has at most {MAX_YAML_BYTES} bytes; send JSON instead, or several objects"
        raise TooLargeError(message)
    try:
        text = body.decode("utf-8")
        return _read_yaml(text) if media_type == YAML else _read_json(text)
    except (ValueError, RecursionError) as error:
        message = f"the body cannot be read as {media_type}: {str(error)[:200]}"
        raise MalformedError(message) from error


def _read_yaml(text: str) -> object:
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506  _PlainLoader makes text, lists and mappings only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        message = f"{error.problem}{place}"
        raise ValueError(message) from error
    except yaml.YAMLError as error:
        message = "a character is not allowed in YAML"
        raise ValueError(message) from error


def _read_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique_pairs)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        message = "a key stands twice in an object"
        raise ValueError(message)
    return unique
