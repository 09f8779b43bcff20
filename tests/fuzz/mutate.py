"""Damage to real inputs: of bytes, of DER, of text. Everything follows from the generator's seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from tests.unit.pki.samples import tlv

_EDGES = (0x00, 0x01, 0x7F, 0x80, 0x81, 0x84, 0xFE, 0xFF)
_TAGS = (
    0x01,
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x0C,
    0x13,
    0x14,
    0x16,
    0x17,
    0x18,
    0x1E,
    0x30,
    0x31,
    0x82,
    0x87,
    0xA0,
)
_OIDS = (
    "550403",
    "55040a",
    "550411",
    "551d11",
    "551d13",
    "551d0f",
    "2a864886f70d01090e",
    "2b6570",
    "2a8648ce3d0201",
)
_TIMES = (b"991231235959Z", b"000101000000Z", b"20261332250000Z", b"99991231235959Z", b"0", b"")
_NUMBERS = ("0", "-1", "1e400", "9" * 400, "18446744073709551616", "NaN", "1.5", "0x7f", "٣", "true", "null")
_ODD_TEXT = (
    "\u202e", "\u0000", "\ufeff", "\u2028", "ß", "İ", "K", "xn--", "。", "\U0001f512", "\\ud800", "%00", "é",
    "*.", "..", "::ffff:1.2.3.4", "\r\n", "\t", "~1", "'", '"', "{", "}", "[", "]", ",", ":",
)  # fmt: skip
_YAML = (
    "&a ", "*a", "!!python/object/apply:os.system ", "!!binary ", "!!set ", "? ", "<<: *a", "---\n", "...\n",
    "%YAML 9.9\n", "|\n", ">\n", "- ", "# ", "@", "`", "!<tag:x> ", "\t", "~", "!!int ", "{a: b}", "[a, [b]]",
)  # fmt: skip


def damaged(body: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Do one to three things to bytes whose meaning does not matter; `others` lend parts of theirs."""
    octets = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(_BYTE_CHANGES)(octets, random, others)
    return bytes(octets)


def _flip(octets: bytearray, random: Random, _: Sequence[bytes]) -> None:
    if octets:
        octets[random.randrange(len(octets))] ^= 1 << random.randrange(8)


def _put(octets: bytearray, random: Random, _: Sequence[bytes]) -> None:
    if octets:
        octets[random.randrange(len(octets))] = random.choice((*_EDGES, random.randrange(256)))


def _cut(octets: bytearray, random: Random, _: Sequence[bytes]) -> None:
    start = random.randrange(len(octets) + 1)
    del octets[start : start + random.choice((1, 2, 16, len(octets)))]


def _repeat(octets: bytearray, random: Random, _: Sequence[bytes]) -> None:
    start = random.randrange(len(octets) + 1)
    part = octets[start : start + random.choice((1, 4, 32, 200))]
    octets[start:start] = part * random.choice((1, 2, 9))


def _splice(octets: bytearray, random: Random, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    start = random.randrange(len(other) + 1)
    place = random.randrange(len(octets) + 1)
    octets[place : place + random.choice((0, 4, 64))] = other[start : start + random.choice((4, 32, 400))]


_BYTE_CHANGES: tuple[Callable[[bytearray, Random, Sequence[bytes]], None], ...] = (
    _flip, _flip, _put, _put, _cut, _repeat, _splice,
)  # fmt: skip


class Node:
    """A DER value that can be changed and encoded again with right lengths all the way up."""

    def __init__(self, tag: int, content: bytes, parts: list[Node] | None) -> None:
        self.tag, self.content, self.parts = tag, content, parts

    def encode(self) -> bytes:
        return tlv(self.tag, self.content if self.parts is None else b"".join(p.encode() for p in self.parts))

    def walk(self) -> Iterator[Node]:
        yield self
        for part in self.parts or ():
            yield from part.walk()


def read_der(octets: bytes) -> list[Node] | None:
    """Read values with one-octet tags, as far down as there are any; None where there are none."""
    nodes, place = [], 0
    while place < len(octets):
        if place + 2 > len(octets):
            return None
        tag, size = octets[place], octets[place + 1]
        place += 2
        if size > 0x80:
            width = size & 0x7F
            size = int.from_bytes(octets[place : place + width], "big")
            place += width
        content = octets[place : place + size]
        if len(content) != size or size == 0x80:
            return None
        # An octet string may hold DER, as the values of extensions do.
        parts = (
            read_der(content) if tag & 0x20 or (tag == 0x04 and content[:1] in {b"\x30", b"\x03"}) else None
        )
        nodes.append(Node(tag, content, parts))
        place += size
    return nodes


def damaged_der(body: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Do one to three things to the values within DER, whose lengths are right again afterwards."""
    roots = read_der(body)
    if not roots:
        return damaged(body, random, others)
    for _ in range(random.choice((1, 1, 2, 3))):
        node = random.choice([node for root in roots for node in root.walk()])
        random.choice(_NODE_CHANGES)(node, random, others)
    encoded = b"".join(root.encode() for root in roots)
    return _wrong_length(encoded, random) if random.random() < 0.05 else encoded


def _retag(node: Node, random: Random, _: Sequence[bytes]) -> None:
    node.tag = random.choice((*_TAGS, node.tag ^ 0x20, node.tag ^ 0x80))


def _recontent(node: Node, random: Random, others: Sequence[bytes]) -> None:
    node.content, node.parts = damaged(node.encode()[2:], random, others), None


def _set_number(node: Node, random: Random, _: Sequence[bytes]) -> None:
    size = random.choice((0, 1, 2, 9, 33, 300))
    node.content, node.parts = random.choice((b"\0", b"\xff", b"\x7f")) * size, None


def _set_oid(node: Node, random: Random, _: Sequence[bytes]) -> None:
    long_arc = b"\x2a" + b"\xff" * random.choice((1, 5, 20, 100)) + b"\x7f"
    node.tag, node.parts = 0x06, None
    node.content = random.choice((*map(bytes.fromhex, _OIDS), long_arc, b"", b"\x80\x01"))


def _set_time(node: Node, random: Random, _: Sequence[bytes]) -> None:
    node.tag, node.content, node.parts = random.choice((0x17, 0x18)), random.choice(_TIMES), None


def _set_text(node: Node, random: Random, _: Sequence[bytes]) -> None:
    text = random.choice(_ODD_TEXT) + random.choice(("", "a", "a" * 63, "a" * 70, ".example"))
    node.tag, node.parts = random.choice((node.tag, 0x0C, 0x13, 0x16, 0x1E, 0x82)), None
    node.content = text.encode(random.choice(("utf-8", "utf-16-be")), "replace")


def _reorder(node: Node, random: Random, _: Sequence[bytes]) -> None:
    if node.parts:
        random.shuffle(node.parts)


def _double(node: Node, random: Random, _: Sequence[bytes]) -> None:
    if node.parts:
        node.parts.insert(random.randrange(len(node.parts) + 1), random.choice(node.parts))


def _drop(node: Node, random: Random, _: Sequence[bytes]) -> None:
    if node.parts:
        del node.parts[random.randrange(len(node.parts))]


def _nest(node: Node, random: Random, _: Sequence[bytes]) -> None:
    inner = Node(node.tag, node.content, node.parts)
    for _level in range(random.choice((1, 2, 40))):
        inner = Node(random.choice((0x30, 0x31, 0xA0)), b"", [inner])
    node.tag, node.content, node.parts = inner.tag, inner.content, inner.parts


_NODE_CHANGES: tuple[Callable[[Node, Random, Sequence[bytes]], None], ...] = (
    _retag, _recontent, _set_number, _set_oid, _set_time, _set_text, _set_text, _reorder, _double, _drop, _nest,
)  # fmt: skip


def _wrong_length(encoded: bytes, random: Random) -> bytes:
    claims = (
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x81\x01",
        b"\x30\x89" + b"\xff" * 9,
        b"\x30\x82\0\x05",
    )
    return random.choice(claims) + encoded[random.choice((2, 3, 4)) :]


def damaged_text(body: bytes, random: Random, others: Sequence[bytes], *, yaml: bool = False) -> bytes:
    """Do one to three things to text: odd letters, odd numbers, lines doubled or left out, marks of YAML."""
    text = body.decode("utf-8", "replace")
    for _ in range(random.choice((1, 1, 2, 3))):
        changes = _TEXT_CHANGES + (_mark_yaml,) * (3 if yaml else 0)
        text = random.choice(changes)(text, random.randrange(len(text) + 1), random, others)
    changed = text.encode("utf-8", "surrogatepass")
    return damaged(changed, random, others) if random.random() < 0.2 else changed


def _odd_letters(text: str, place: int, random: Random, _: Sequence[bytes]) -> str:
    return text[:place] + random.choice(_ODD_TEXT) + text[place:]


def _odd_number(text: str, place: int, random: Random, _: Sequence[bytes]) -> str:
    return text[:place] + random.choice(_NUMBERS) + text[place + random.choice((0, 1, 8)) :]


def _lines(text: str, _place: int, random: Random, _: Sequence[bytes]) -> str:
    line = random.choice(text.splitlines(keepends=True) or [""])
    return text.replace(line, line * random.choice((0, 2, 3)), 1) if line else text


def _left_out(text: str, place: int, random: Random, _: Sequence[bytes]) -> str:
    return text[:place] + text[place + random.choice((1, 2, 10)) :]


def _lent(text: str, place: int, random: Random, others: Sequence[bytes]) -> str:
    other = random.choice(others)
    start = random.randrange(len(other) + 1)
    part = other[start : start + random.choice((4, 20, 80))].decode("utf-8", "replace")
    return text[:place] + part + text[place:]


def _mark_yaml(text: str, place: int, random: Random, _: Sequence[bytes]) -> str:
    # Marks of YAML mean something at the start of a value or a line only.
    start = max(text.rfind(": ", 0, place) + 2, text.rfind("\n", 0, place) + 1)
    return text[:start] + random.choice(_YAML) + text[start:]


_TEXT_CHANGES: tuple[Callable[[str, int, Random, Sequence[bytes]], str], ...] = (
    _odd_letters, _odd_number, _lines, _left_out, _lent,
)  # fmt: skip


def damaged_value(body: bytes, random: Random) -> bytes:
    """Do one to three things to the value of a JSON document, which stays one."""
    document = json.loads(body)
    for _ in range(random.choice((1, 1, 2, 3))):
        document = _changed_value(document, random)
    return json.dumps(document).encode()


def _changed_value(value: Any, random: Random) -> Any:  # noqa: ANN401  any JSON
    if not value or not isinstance(value, dict | list) or random.random() < 0.1:
        return _odd_value(value, random)
    place = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
    kept = dict(value) if isinstance(value, dict) else list(value)
    match random.randrange(8):
        case 0:
            del kept[place]
        case 1 if isinstance(kept, list):
            kept.append(kept[place])
        case 2 if isinstance(kept, dict):
            kept[random.choice((*_ODD_TEXT, "kind", "csr", "aud", "status"))] = kept[place]
        case _:
            kept[place] = _changed_value(kept[place], random)
    return kept


def _odd_value(value: object, random: Random) -> object:
    odd: tuple[object, ...] = (
        None, True, 0, -1, 10**30, 1.5, 1e308, float("nan"), "", [], {}, [value], {"a": value}, "9" * 400,
        "\ud800", "a" * 70_000, random.choice(_ODD_TEXT), f"{value}{random.choice(_ODD_TEXT)}",
    )  # fmt: skip
    if isinstance(value, str) and value and random.random() < 0.5:
        return damaged_text(
            value.encode("utf-8", "replace"), random, (b"a", value.encode("utf-8", "replace"))
        ).decode("utf-8", "replace")
    return random.choice(odd)
