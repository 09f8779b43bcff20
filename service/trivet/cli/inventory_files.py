"""Read an inventory from a file: CSV or YAML, every fault with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from trivet.cli.exits import CommandError
from trivet.pki.errors import InvalidError
from trivet.pki.inventory import Grants, read_grants
from trivet.pki.names import parse_node_name
from trivet.pki.search import address_key

_COLUMNS: Final = ("node", "dnsNames", "ipAddresses")
_MOST_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Line:
    """What a file says a node owns, and where it says so."""

    number: int
    node: str
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]


class _Faults:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[tuple[int, str]] = []

    def add(self, number: int, message: str) -> None:
        self.found.append((number, message))

    def raise_if_any(self) -> None:
        if not self.found:
            return
        shown = [f"  line {number}: {message}" for number, message in sorted(self.found)[:_MOST_SHOWN]]
        more = len(self.found) - len(shown)
        tail = [f"  and {more} more"] if more > 0 else []
        raise CommandError("\n".join([f"{self.name} is wrong; nothing was imported", *shown, *tail]))


def read_inventory(name: str, text: str, *, is_yaml: bool) -> list[Line]:
    """Read a whole file and look for conflicts within it; nothing of a file that is wrong anywhere is used.

    Args:
        name: of the file, for messages.
        text: what it holds.
        is_yaml: whether it is YAML: a mapping of nodes to `dnsNames` and `ipAddresses`. Else CSV with the header
            `node,dnsNames,ipAddresses`, and several values in one cell set apart by spaces or semicolons.

    Raises:
        CommandError: every fault with its line.
    """
    faults = _Faults(name)
    lines = list(_yaml_lines(text, faults) if is_yaml else _csv_lines(text, faults))
    faults.raise_if_any()
    _check(lines, faults)
    faults.raise_if_any()
    return lines


def _csv_lines(text: str, faults: _Faults) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not header or header[0] != "node" or not set(header) <= set(_COLUMNS):
            faults.add(1, f"the header must be {','.join(_COLUMNS)}")
            return
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(header):
                faults.add(reader.line_num, f"{len(cells)} cells instead of {len(header)}")
                continue
            named = dict(zip(header, cells, strict=True))
            values = [tuple(named.get(column, "").replace(";", " ").split()) for column in _COLUMNS[1:]]
            yield Line(reader.line_num, named["node"], values[0], values[1])
    except csv.Error as error:
        faults.add(reader.line_num, str(error))


def _yaml_lines(text: str, faults: _Faults) -> Iterator[Line]:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        faults.add(mark.line + 1 if mark else 1, str(error.problem))
        return
    except yaml.YAMLError:
        faults.add(1, "a character is not allowed in YAML")
        return
    if not isinstance(root, yaml.MappingNode):
        faults.add(1, "must be a mapping of nodes to dnsNames and ipAddresses")
        return
    for key, value in root.value:
        number = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.MappingNode):
            faults.add(number, "a node has a mapping with dnsNames and ipAddresses")
            continue
        members = {column: _texts(value, column, faults) for column in _COLUMNS[1:]}
        for member, _ in value.value:
            if member.value not in members:
                faults.add(member.start_mark.line + 1, f"unknown field; known are {', '.join(_COLUMNS[1:])}")
        yield Line(number, key.value, members["dnsNames"], members["ipAddresses"])


def _texts(node: yaml.MappingNode, column: str, faults: _Faults) -> tuple[str, ...]:
    found: list[str] = []
    for key, value in node.value:
        if key.value != column:
            continue
        items = value.value if isinstance(value, yaml.SequenceNode) else None
        if items is None or not all(isinstance(item, yaml.ScalarNode) for item in items):
            faults.add(key.start_mark.line + 1, f"{column} must be a list of texts")
            continue
        found += [item.value for item in items]
    return tuple(found)


def _check(lines: Sequence[Line], faults: _Faults) -> None:
    """Look at names and addresses, and whether two nodes of the file own the same."""
    owned: dict[str, Grants] = {}
    for line in lines:
        try:
            parse_node_name(line.node)
            grants = read_grants(line.dns_names, line.ip_addresses)
        except ValueError as error:
            faults.add(line.number, str(error))
            continue
        except InvalidError as error:
            for fault in error.faults:
                faults.add(line.number, fault.message)
            continue
        if line.node in owned:
            faults.add(line.number, f"the node {line.node} stands twice")
            continue
        owned[line.node] = grants
    if not faults.found:
        _check_conflicts(lines, owned, faults)


def _check_conflicts(lines: Sequence[Line], owned: dict[str, Grants], faults: _Faults) -> None:
    owners = {line.node: line.node for line in lines}
    for line in lines:
        for name in owned[line.node].dns_names:
            owner = owners.setdefault(name, line.node)
            if owner != line.node:
                faults.add(line.number, f"{name} belongs to the node {owner} of this file")
    # In the order of the addresses a range can overlap the one that reaches furthest so far.
    reach: _Range | None = None
    for one in sorted(_ranges(lines, owned)):
        if reach is not None and one.first <= reach.last:
            if one.node != reach.node:
                later, earlier = sorted((one, reach), key=lambda each: -each.number)
                message = (
                    f"{later.text} belongs to the node {earlier.node} of this file (line {earlier.number})"
                )
                faults.add(later.number, message)
            reach = max(one, reach, key=lambda each: each.last)
        else:
            reach = one


@dataclass(frozen=True, slots=True, order=True)
class _Range:
    first: str
    last: str
    number: int
    node: str
    text: str


def _ranges(lines: Sequence[Line], owned: dict[str, Grants]) -> Iterator[_Range]:
    for line in lines:
        for network in owned[line.node].networks:
            # As the service's index has them: the version comes first, so that IPv4 and IPv6 never meet.
            first, last = address_key(network[0]), address_key(network[-1])
            yield _Range(first, last, line.number, line.node, str(network))
