"""Reading the body of a request: JSON, YAML or protobuf, each into what JSON would say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from trivet.web.kubernetes.messages import MESSAGES
from trivet.web.kubernetes.protobuf import ProtobufError, read_message, read_unknown
from trivet.web.kubernetes.status import StatusError, bad_request

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from starlette.requests import Request

    from trivet.web.kubernetes.call import Call

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_MAX_YAML_BYTES: Final = 256 * 1024  # PyYAML reads some 100 kB a second
DEEPEST: Final = 32
"""How deep a document may be nested; so whoever walks it may recurse."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a body says, and the names of members that stand twice in an object."""

    value: Any
    doubled: Sequence[str] = ()


def media_type_of(request: Request) -> str:
    """The body's media type without its parameters; JSON where it says none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON


async def read_body(call: Call, kind: str) -> Document:
    """Read an object, off the event loop: a large body takes seconds.

    Args:
        call: whose body is read.
        kind: of the object, by which protobuf is read.

    Raises:
        StatusError: it cannot be read (400), or not in this media type (415).
    """
    body, media_type = await call.request.body(), media_type_of(call.request)
    return await call.caller.offload(_read, body, media_type, kind)


def _read(body: bytes, media_type: str, kind: str) -> Document:
    if media_type == PROTOBUF and kind in MESSAGES:
        return Document(_read_protobuf(body, kind))
    if media_type == JSON:
        return read_json(body)
    if media_type == YAML:
        return read_yaml(body)
    raise unsupported((JSON, YAML, PROTOBUF) if kind in MESSAGES else (JSON, YAML))


def unsupported(accepted: Sequence[str]) -> StatusError:
    """415, as apiserver's NewUnsupportedMediaTypeError words it."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def read_json(body: bytes) -> Document:
    """Read JSON, and note what stands twice.

    Raises:
        StatusError: it is none.
    """
    doubled: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(found)
        if len(members) < len(found):
            seen: set[str] = set()
            doubled.extend(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return members

    try:
        value = json.loads(body, object_pairs_hook=pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding the body as JSON: {str(error)[:200]}") from error
    return Document(_shallow(value), doubled)


def read_yaml(body: bytes) -> Document:
    """Read YAML as sigs.k8s.io/yaml does, without aliases: a few lines of them can stand for gigabytes.

    Raises:
        StatusError: it is none, or too long.
    """
    if body.lstrip()[:1] == b"{":  # what kubectl sends as YAML is JSON, which is read faster
        return read_json(body)
    if len(body) > _MAX_YAML_BYTES:
        message = f"a YAML document has at most {_MAX_YAML_BYTES} bytes; send JSON instead"
        raise StatusError(413, "RequestEntityTooLarge", message)
    try:
        value = yaml.load(body.decode(), _Loader)  # noqa: S506  a SafeLoader that knows less
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_request(f"error decoding the body as YAML: {str(error)[:200]}") from error
    return Document(_shallow(value))


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as Go's reader has it: times stay text; no aliases; no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  PyYAML's own signature
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(node.value):
            message = "a key stands twice, or is no text"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        return {str(key): value for key, value in super().construct_mapping(node, deep=deep).items()}


_TIMES: Final = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {_TIMES, "tag:yaml.org,2002:merge"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_protobuf(body: bytes, kind: str) -> Any:  # noqa: ANN401  a JSON value
    try:
        api_version, said, raw = read_unknown(body)
        message = read_message(raw, MESSAGES[kind])
    except ProtobufError as error:
        raise bad_request(f"error decoding the body as protobuf: {error}") from error
    return {"apiVersion": api_version, "kind": said or kind, **message}


def _no_constant(name: str) -> Any:  # noqa: ANN401  never returns
    raise ValueError(f"{name} is no JSON")


def _shallow(value: Any) -> Any:  # noqa: ANN401  a JSON value
    if not is_shallow(value, DEEPEST):
        raise bad_request(f"the body is nested more than {DEEPEST} deep")
    return value


def is_shallow(value: object, deepest: int) -> bool:
    """Whether a JSON value has at most that many levels, of which a number or a text is one."""
    level: list[Any] = [value]
    for _ in range(deepest):
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [member for item in inner if isinstance(item, list) for member in item]
    return not level
