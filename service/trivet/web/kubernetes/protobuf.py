r"""Kubernetes' protobuf bodies: a reader for the messages that clients send, and nothing else of protobuf.

A body is `k8s\0` and a runtime.Unknown (apimachinery's serializer/protobuf/doc.go). What a message's table lacks is
skipped, as protobuf has it. Nesting is bounded by that of the tables, and the fields of a body are counted: the
smallest have two bytes, and a megabyte of them would take seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_BITS: Final = 64
_MASK: Final = (1 << _MOST_BITS) - 1
_MOST_FIELDS: Final = 20_000


class ProtobufError(ValueError):
    """The bytes are not such a message."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        kind: `string`, `bytes`, `base64` (bytes that JSON has as text), `time`, `bool`, `int`, `map` (of strings to
            strings), or `message`.
        message: the table of a message; for a `map` of messages, that of its values.
        repeated: whether there may be many.
    """

    name: str
    kind: str
    message: Mapping[int, Field] | None = None
    repeated: bool = False


Table = dict[int, Field]
_Left = Iterator[int]  # gives one thing for each field that a body may still have


def read_unknown(body: bytes) -> tuple[str, str, bytes]:
    """The apiVersion and kind of a body, and the bytes of its object.

    Raises:
        ProtobufError: it is none.
    """
    if not body.startswith(MAGIC):
        raise ProtobufError("does not begin with the four bytes of Kubernetes' protobuf")
    unknown = read_message(body[len(MAGIC) :], _UNKNOWN)
    meta = unknown.get("typeMeta", {})
    return meta.get("apiVersion", ""), meta.get("kind", ""), unknown.get("raw", b"")


def read_message(message: bytes, table: Mapping[int, Field]) -> dict[str, Any]:
    """A message as the JSON object would be; `bytes` stay bytes.

    Raises:
        ProtobufError: it is not such a message, or has too many fields.
    """
    return _read_message(message, table, iter(range(_MOST_FIELDS)))


def _read_message(message: bytes, table: Mapping[int, Field], left: _Left) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, wire, value in _fields(message):
        if next(left, None) is None:
            raise ProtobufError(f"it has more than {_MOST_FIELDS} fields")
        field = table.get(number)
        if field is None:
            continue
        if field.kind == "map":
            entry = _read_message(_bytes(wire, value), _entry_of(field), left)
            found.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(field, wire, value, left))
        else:
            found[field.name] = _value(field, wire, value, left)
    return found


def _entry_of(field: Field) -> Table:
    value = Field("value", "message", field.message) if field.message else Field("value", "string")
    return {1: Field("key", "string"), 2: value}


def _value(field: Field, wire: int, value: int | bytes, left: _Left) -> Any:  # noqa: ANN401  what the field is
    match field.kind:
        case "bool":
            return bool(_int(wire, value))
        case "int":
            number = _int(wire, value)
            return number - (1 << _MOST_BITS) if number >> (_MOST_BITS - 1) else number
        case _:
            return _read_bytes(field, _bytes(wire, value), left)


def _read_bytes(field: Field, value: bytes, left: _Left) -> Any:  # noqa: ANN401  what the field is
    match field.kind:
        case "bytes":
            return value
        case "base64":
            return base64.b64encode(value).decode()
        case "time":
            return _time(_read_message(value, _TIME, left))
        case "message":
            return _read_message(value, field.message or {}, left)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtobufError(f"{field.name} is not UTF-8") from error


def _time(read: Mapping[str, int]) -> str | None:
    """A metav1.Time, to the second as in JSON; an empty message is no time."""
    if not read:
        return None
    try:
        moment = _EPOCH + timedelta(seconds=read.get("seconds", 0))
    except OverflowError as error:
        raise ProtobufError("a time is beyond the year 9999") from error
    return moment.isoformat().replace("+00:00", "Z")


def _int(wire: int, value: int | bytes) -> int:
    if wire != _VARINT or not isinstance(value, int):
        raise ProtobufError("a field has another type than it should")
    return value


def _bytes(wire: int, value: int | bytes) -> bytes:
    if wire != _BYTES or not isinstance(value, bytes):
        raise ProtobufError("a field has another type than it should")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if number == 0:
            raise ProtobufError("a field has no number")
        if wire == _VARINT:
            value, place = _varint(message, place)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if wire == _BYTES:
                length, place = _varint(message, place)
            if length is None:
                raise ProtobufError("a field has a type that there is not")
            if place + length > len(message):
                raise ProtobufError("it ends within a field")
            value, place = message[place : place + length], place + length
        yield number, wire, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _MOST_BITS + 6, 7):
        if place >= len(message):
            raise ProtobufError("it ends within a number")
        octet = message[place]
        place += 1
        value |= (octet & 0x7F) << shift
        if not octet & 0x80:
            return value & _MASK, place
    raise ProtobufError("a number is too long")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final[Table] = {1: Field("seconds", "int")}
# apimachinery's pkg/runtime/generated.proto
_UNKNOWN: Final[Table] = {
    1: Field("typeMeta", "message", {1: Field("apiVersion", "string"), 2: Field("kind", "string")}),
    2: Field("raw", "bytes"),
}
