from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.signing.age import (
    AgeError,
    DamagedError,
    EncryptedFile,
    Identity,
    NoKeyError,
    Passphrase,
    PublicRecipient,
    bech32,
    open_file,
    parse_identities,
)
from trivet.signing.age.files import CHUNK
from trivet.signing.age.keys import Unwrapper, Wrapper

HOLDER, OTHER = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
WEAK = 4  # work factor: a test is no attack
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK)


def encrypted(octets: bytes, *wrappers: Wrapper) -> bytes:
    file = io.BytesIO()
    writer = EncryptedFile(file, wrappers or [HOLDER.recipient], os.urandom)
    for at in range(0, len(octets), 50_000):
        writer.write(octets[at : at + 50_000])
    writer.complete()
    return file.getvalue()


def decrypted(octets: bytes, *unwrappers: Unwrapper) -> bytes:
    return open_file(io.BytesIO(octets), unwrappers or [HOLDER]).readall()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_encrypted_is_read_again(size: int) -> None:
    octets = os.urandom(size)
    assert decrypted(encrypted(octets)) == octets


@pytest.mark.parametrize("size", SIZES)
def test_age_reads_what_trivet_wrote_and_trivet_what_age_wrote(
    size: int, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    age, key, plain = require_tool("age"), tmp_path / "key", tmp_path / "plain"
    key.write_text(HOLDER.text())
    plain.write_bytes(os.urandom(size))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(encrypted(plain.read_bytes(), OTHER.recipient, HOLDER.recipient))
    opened = subprocess.run([age, "-d", "-i", key, ours], capture_output=True, check=True)
    assert opened.stdout == plain.read_bytes()
    subprocess.run([age, "-r", str(HOLDER.recipient), "-o", theirs, plain], check=True)
    assert decrypted(theirs.read_bytes()) == plain.read_bytes()


def test_each_recipient_can_open_it_and_nobody_else() -> None:
    file = encrypted(b"secret", HOLDER.recipient, OTHER.recipient)
    assert decrypted(file, HOLDER) == decrypted(file, OTHER) == b"secret"
    with pytest.raises(NoKeyError, match="the private key of a recipient"):
        decrypted(encrypted(b"secret", OTHER.recipient), HOLDER)


def test_a_passphrase_opens_what_was_encrypted_under_it_and_no_other_does() -> None:
    file = encrypted(b"secret", Passphrase("open sesame", WEAK))
    assert decrypted(file, Passphrase("open sesame")) == b"secret"
    with pytest.raises(NoKeyError, match="opens with a passphrase"):
        decrypted(file, Passphrase("open barley"))


def test_a_passphrase_stands_beside_no_recipient() -> None:
    with pytest.raises(NoKeyError, match="stands alone"):
        encrypted(b"", Passphrase("open sesame", WEAK), HOLDER.recipient)
    with pytest.raises(NoKeyError, match="for whom"):
        EncryptedFile(io.BytesIO(), [], os.urandom)


def test_a_header_cannot_make_the_reader_stretch_for_ever() -> None:
    file = encrypted(b"", Passphrase("open sesame", WEAK)).replace(b" 4\n", b" 31\n", 1)
    with pytest.raises(DamagedError, match=r"2\*\*31 rounds"):
        decrypted(file, Passphrase("open sesame"))


@given(st.data())
def test_no_changed_octet_passes(data: st.DataObject) -> None:
    file = bytearray(encrypted(b"all of this" * 10))
    at = data.draw(st.integers(0, len(file) - 1))
    file[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(AgeError):
        decrypted(bytes(file))


def test_a_file_that_was_cut_off_or_rearranged_does_not_pass() -> None:
    octets = os.urandom(2 * CHUNK + 100)
    file = encrypted(octets)
    body, sealed = len(file) - len(octets) - 3 * 16, CHUNK + 16
    head, chunks = file[:body], [file[at : at + sealed] for at in range(body, len(file), sealed)]
    assert decrypted(head + b"".join(chunks)) == octets
    for changed in (
        chunks[:2],
        chunks[:1],
        [chunks[1], chunks[0], chunks[2]],
        [*chunks, chunks[2]],
        [*chunks, b"x"],
        [chunks[0], chunks[2]],
        [],
    ):
        with pytest.raises(DamagedError):
            decrypted(head + b"".join(changed))
    for at in (0, 10, body - 1, len(file) - 1):
        with pytest.raises(DamagedError):
            decrypted(file[:at])


def test_what_was_not_completed_reads_as_cut_off() -> None:
    file = io.BytesIO()
    EncryptedFile(file, [HOLDER.recipient], os.urandom).write(os.urandom(3 * CHUNK))
    with pytest.raises(DamagedError):
        decrypted(file.getvalue())


def test_keys_are_written_as_age_writes_them() -> None:
    assert str(HOLDER.recipient).startswith("age1")
    assert PublicRecipient.parse(str(HOLDER.recipient)) == HOLDER.recipient
    assert HOLDER.text().startswith("AGE-SECRET-KEY-1")
    assert parse_identities(f"# a comment\n\n{HOLDER.text()}\n{OTHER.text()}\n") == [HOLDER, OTHER]
    assert HOLDER.text()[16:] not in repr(HOLDER)
    assert "sesame" not in repr(Passphrase("open sesame"))


@pytest.mark.parametrize(
    "text", ["", "age1", "nonsense", str(HOLDER.recipient)[:-1], str(HOLDER.recipient).title(), HOLDER.text()]
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(NoKeyError, match="not a recipient") as caught:
        PublicRecipient.parse(text)
    assert HOLDER.text()[16:] not in str(caught.value)


def test_an_identity_file_without_a_key_is_refused() -> None:
    with pytest.raises(NoKeyError, match="holds no private key"):
        parse_identities("# nothing\n")
    with pytest.raises(NoKeyError, match="not a private key"):
        parse_identities(str(HOLDER.recipient))


@pytest.mark.parametrize(
    "text",
    [
        "A12UEL5L",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
        str(HOLDER.recipient),
    ],
)
def test_bech32_reads_the_vectors_of_bip_173(text: str) -> None:
    prefix, octets = bech32.decode(text)
    assert bech32.encode(prefix, octets) == text.lower()


@pytest.mark.parametrize(
    "text", ["pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8", "a12UEL5L"]
)
def test_bech32_refuses_the_wrong_vectors_of_bip_173(text: str) -> None:
    with pytest.raises(ValueError, match=r"checksum|incomplete|mixed"):
        bech32.decode(text)
