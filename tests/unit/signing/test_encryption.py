from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from tests.unit.pki.samples import private_key

from trivet.pki.keys import spki
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError

SECRET = bytes(range(32))
KEY = KeyEncryptionKey(SECRET)
OTHER = KeyEncryptionKey(bytes(32))


@pytest.mark.parametrize("kind", ["P-384", "RSA-2048"])
def test_a_key_opens_as_it_was_encrypted(kind: str) -> None:
    key = private_key(kind)
    stored = KEY.encrypt(key)
    opened = KEY.decrypt(stored)
    assert isinstance(opened, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    assert spki(opened.public_key()) == spki(key.public_key())
    assert KEY.encrypt(key) != stored


def test_a_stored_key_does_not_open_without_its_password() -> None:
    stored = KEY.encrypt(private_key("P-384"))
    with pytest.raises(TypeError):
        load_der_private_key(stored, None)


@pytest.mark.parametrize("kind", ["another key", "truncated", "flipped", "empty", "garbage", "not encrypted"])
def test_a_stored_key_that_does_not_open_is_refused_without_a_word_of_it(kind: str) -> None:
    key = private_key("P-384")
    stored = KEY.encrypt(key)
    flipped = bytearray(stored)
    flipped[-1] ^= 1
    opener, bytes_ = {
        "another key": (OTHER, stored),
        "truncated": (KEY, stored[:-1]),
        "flipped": (KEY, bytes(flipped)),
        "empty": (KEY, b""),
        "garbage": (KEY, b"garbage"),
        # What was put there in clear was not put there by Trivet.
        "not encrypted": (KEY, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
    }[kind]
    with pytest.raises(WrongKeyError) as caught:
        opener.decrypt(bytes_)
    assert str(caught.value) == "a stored private key does not open with this key-encryption key"


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_key_encryption_key_has_32_bytes(size: int) -> None:
    with pytest.raises(WrongKeyError, match=f"{size} bytes instead of 32"):
        KeyEncryptionKey(bytes(size))


def test_a_key_encryption_key_is_read_from_base64() -> None:
    text = base64.b64encode(SECRET).decode()
    for spelling in (text, f"{text}\n", f"  {text}\r\n"):
        assert KeyEncryptionKey.from_text(spelling).check() == KEY.check()


@pytest.mark.parametrize(
    "text", ["", "secret", "é" * 44, "AAAA", "*" * 44, base64.b64encode(bytes(33)).decode()]
)
def test_text_that_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(WrongKeyError) as caught:
        KeyEncryptionKey.from_text(text)
    assert not text or text not in str(caught.value)


def test_the_check_tells_keys_apart_and_nothing_of_them() -> None:
    assert KEY.check() == KeyEncryptionKey(SECRET).check()
    assert KEY.check() != OTHER.check()
    assert SECRET.hex() not in KEY.check()
    assert len({KEY.check(), KEY.token_hash(""), KEY._derive("private keys").hex()}) == 3


def test_token_hashes_depend_on_the_secret_and_the_key() -> None:
    hashes = {KEY.token_hash("a"), KEY.token_hash("b"), OTHER.token_hash("a")}
    assert len(hashes) == 3
    assert KEY.token_hash("a") == KeyEncryptionKey(SECRET).token_hash("a")


def test_nothing_of_the_key_shows() -> None:
    for shown in (repr(KEY), str(KEY), f"{KEY}", f"{KEY!r}", repr([KEY])):
        assert "KeyEncryptionKey(…)" in shown
        assert SECRET.hex() not in shown
        assert repr(SECRET) not in shown
    assert not hasattr(KEY, "__dict__")
