"""Of an export of the proof no line, and no character, can be changed unseen."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clock import Clock
from tests.support.proof import exported, verified_by
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.install import service_certificate
from trivet.authority.proof.seal import seal
from trivet.pki.errors import RevokedError
from trivet.pki.keys import PublicKey
from trivet.pki.pem import from_der
from trivet.pki.proof.lines import canonical, is_signed_by
from trivet.pki.revocation import EntryKind

Genuine = tuple[list[bytes], PublicKey]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcäß€😀", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """Give an export, and the key that its checkpoints are signed with."""
    clock = Clock()
    url = f"sqlite:///{tmp_path_factory.mktemp('proof') / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    ban = world.revoke(entry(EntryKind.GROUP, "nobody"), entry(EntryKind.COMMON_NAME, "system:node:evil"))
    first = world.issue()
    seal(world.authority)
    with pytest.raises(RevokedError):
        world.issue(node="evil")
    world.renew(first.stored)
    world.delete(ban)
    lines = exported(world.authority)
    key = from_der(service_certificate(world.authority)).public_key()
    world.authority.database.dispose()
    return lines, key


@given(data=st.data())
@settings(max_examples=200)
def test_any_octet_that_is_changed_is_found(genuine: Genuine, data: st.DataObject) -> None:
    lines, key = list(genuine[0]), genuine[1]
    number = data.draw(st.integers(0, len(lines) - 1), label="line")
    place = data.draw(st.integers(0, len(lines[number]) - 1), label="octet")
    other = data.draw(st.integers(0, 255).filter(lambda octet: octet != lines[number][place]), label="other")
    lines[number] = lines[number][:place] + bytes([other]) + lines[number][place + 1 :]
    report = verified_by([key], b"\n".join(lines).split(b"\n"))
    assert not report.is_sound
    # Found at the line itself or where the next one contradicts it, which is never before it.
    assert report.faults[0].line >= number + 1


@given(data=st.data())
@settings(max_examples=150)
def test_any_lines_that_are_dropped_doubled_or_moved_are_found(genuine: Genuine, data: st.DataObject) -> None:
    lines, key = list(genuine[0]), genuine[1]
    number = data.draw(st.integers(0, len(lines) - 1), label="line")
    match data.draw(st.sampled_from(["drop", "double", "move", "cut"]), label="what"):
        case "drop":
            del lines[number]
        case "double":
            lines.insert(data.draw(st.integers(0, len(lines))), lines[number])
        case "move":
            moved = lines.pop(number)
            lines.insert(data.draw(st.integers(0, len(lines)).filter(lambda to: to != number)), moved)
        case _:
            del lines[number:]
    assert not verified_by([key], lines).is_sound


@given(data=st.data())
@settings(max_examples=100)
def test_any_member_that_is_changed_is_found_though_the_file_is_made_to_fit(
    genuine: Genuine, data: st.DataObject
) -> None:
    lines, key = list(genuine[0]), genuine[1]
    number = data.draw(st.integers(1, len(lines) - 2), label="line")
    line = json.loads(lines[number])
    name = data.draw(st.sampled_from(sorted(line)), label="member")
    line[name] = data.draw(
        JSON.filter(lambda value: canonical(value) != canonical(line[name])), label="value"
    )
    lines[number] = canonical(line)
    lines[-1] = _end_of(lines)
    assert not verified_by([key], lines).is_sound


def _end_of(lines: list[bytes]) -> bytes:
    """Make the last line anew, as anybody can."""
    whole = hashlib.sha256(b"".join(line + b"\n" for line in lines[:-1])).hexdigest()
    return canonical({**json.loads(lines[-1]), "lines": len(lines) - 1, "sha256": whole})


@given(value=JSON)
def test_both_ways_to_write_a_line_give_the_same(value: Any) -> None:  # noqa: ANN401
    assert orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == canonical(value)


@given(line=st.dictionaries(st.text(max_size=3), JSON, max_size=4), signature=JSON)
def test_what_was_not_signed_is_not(line: dict[str, Any], signature: object) -> None:
    key = ec.derive_private_key(7, ec.SECP384R1()).public_key()
    assert not is_signed_by({**line, "signature": signature}, key)
