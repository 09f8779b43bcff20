from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.pki.samples import NOW, PrivateKey, private_key, sign

from trivet.pki.keys import spki
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import RootAlgorithm, root_builder, root_subject, root_validity
from trivet.pki.serials import serial_from_random
from trivet.signing import file
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError
from trivet.signing.file import FileSigner, Keyring, generate_key

KEY_ENCRYPTION_KEY = KeyEncryptionKey(bytes(range(32)))


@dataclass(frozen=True)
class Stored:
    """A generation as it is stored."""

    id: UUID
    certificate: bytes
    private_key: bytes


def _builder(key: PrivateKey) -> x509.CertificateBuilder:
    subject = root_subject(AuthorityName.CLUSTER, "blue")
    return root_builder(subject, key.public_key(), serial_from_random(1), root_validity(NOW))


def _stored(
    kind: str = "P-384", number: int = 0, encryption: KeyEncryptionKey = KEY_ENCRYPTION_KEY
) -> Stored:
    key = private_key(kind, number)
    certificate = sign(_builder(key), key).public_bytes(Encoding.DER)
    return Stored(uuid4(), certificate, encryption.encrypt(key))


def _signer(keyring: Keyring, stored: Stored) -> FileSigner:
    return keyring.signer(stored.id, stored.certificate, stored.private_key)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA-2048"])
def test_a_signer_signs_with_the_key_that_was_stored(kind: str) -> None:
    stored = _stored(kind)
    signer = _signer(Keyring(KEY_ENCRYPTION_KEY), stored)
    signed = x509.load_der_x509_certificate(signer.sign_certificate(_builder(private_key("P-384", 9))))
    root = x509.load_der_x509_certificate(stored.certificate)
    signed.verify_directly_issued_by(root)
    assert spki(signer.public_key) == spki(root.public_key())


@pytest.mark.parametrize(
    ("kind", "name"), [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512"), ("RSA-2048", "sha256")]
)
def test_the_digest_is_about_as_strong_as_the_curve(kind: str, name: str) -> None:
    signer = _signer(Keyring(KEY_ENCRYPTION_KEY), _stored(kind))
    signed = x509.load_der_x509_certificate(signer.sign_certificate(_builder(private_key("P-384"))))
    assert signed.signature_hash_algorithm is not None
    assert signed.signature_hash_algorithm.name == name


@pytest.mark.parametrize("algorithm", RootAlgorithm)
def test_generated_keys_are_new_and_of_the_kind_that_is_wanted(algorithm: RootAlgorithm) -> None:
    keys = [generate_key(algorithm) for _ in range(2)]
    assert len({spki(key.public_key()) for key in keys}) == 2
    for key in keys:
        if algorithm is RootAlgorithm.P384:
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            assert isinstance(key.curve, ec.SECP384R1)
        else:
            assert isinstance(key, rsa.RSAPrivateKey)
            assert (key.key_size, key.public_key().public_numbers().e) == (4096, 65537)


def test_a_key_of_another_authority_is_refused() -> None:
    # Whoever can write to the database must not make one cluster's CA sign for another's.
    mine, theirs = _stored(number=0), _stored(number=1)
    swapped = replace(mine, private_key=theirs.private_key)
    with pytest.raises(WrongKeyError, match="does not belong"):
        _signer(Keyring(KEY_ENCRYPTION_KEY), swapped)


def test_a_certificate_that_is_swapped_while_the_key_is_open_is_refused() -> None:
    mine, theirs = _stored(number=0), _stored(number=1)
    keyring = Keyring(KEY_ENCRYPTION_KEY)
    _signer(keyring, mine)
    with pytest.raises(WrongKeyError):
        _signer(keyring, replace(mine, certificate=theirs.certificate))


@pytest.mark.parametrize("kind", ["Ed25519"])
def test_a_key_of_no_accepted_kind_is_refused(kind: str) -> None:
    with pytest.raises(WrongKeyError):
        _signer(Keyring(KEY_ENCRYPTION_KEY), _stored(kind))


def test_a_key_under_another_key_encryption_key_is_refused() -> None:
    with pytest.raises(WrongKeyError):
        _signer(Keyring(KEY_ENCRYPTION_KEY), _stored(encryption=KeyEncryptionKey(bytes(32))))


def test_a_key_is_opened_once_and_a_refused_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    decrypt = KeyEncryptionKey.decrypt

    def noting(self: KeyEncryptionKey, pkcs8: bytes) -> object:
        opened.append(pkcs8)
        return decrypt(self, pkcs8)

    monkeypatch.setattr(KeyEncryptionKey, "decrypt", noting)
    keyring, stored = Keyring(KEY_ENCRYPTION_KEY), _stored()
    damaged = replace(stored, private_key=b"damaged")
    for _ in range(2):
        with pytest.raises(WrongKeyError):
            _signer(keyring, damaged)
    first = _signer(keyring, stored)
    assert _signer(keyring, stored) is first
    assert opened == [b"damaged", b"damaged", stored.private_key]


def test_only_so_many_keys_are_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_CACHED_SIGNERS", 2)
    keyring = Keyring(KEY_ENCRYPTION_KEY)
    one, two, three = (_stored(number=number) for number in range(3))
    first = _signer(keyring, one)
    _signer(keyring, two)
    assert _signer(keyring, one) is first
    _signer(keyring, three)
    assert len(keyring._open) == 2
    assert _signer(keyring, one) is first


def test_threads_share_one_signer() -> None:
    keyring, stored = Keyring(KEY_ENCRYPTION_KEY), _stored()
    found: list[FileSigner] = []
    threads = [threading.Thread(target=lambda: found.append(_signer(keyring, stored))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def _parts(key: PrivateKey) -> list[str]:
    """Give spellings of the private key that must not show anywhere."""
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    number = key.private_numbers().private_value if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    return [der.hex(), repr(der), str(number), f"{number:x}", "PRIVATE KEY"]


def test_nothing_of_a_key_shows_in_reprs_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    key, stored = private_key("P-384"), _stored()
    keyring = Keyring(KEY_ENCRYPTION_KEY)
    with caplog.at_level(logging.DEBUG):
        signer = _signer(keyring, stored)
        shown = [repr(signer), str(signer), f"{[signer]}", repr(keyring), repr(vars(keyring))]
        for broken in (
            replace(stored, private_key=b"damaged"),
            replace(stored, certificate=_stored(number=1).certificate),
        ):
            with pytest.raises(WrongKeyError) as caught:
                _signer(Keyring(KEY_ENCRYPTION_KEY), broken)
            shown.append("".join(traceback.format_exception(caught.value)))
        with pytest.raises(AttributeError) as missing:
            signer.nothing  # type: ignore[attr-defined]  # noqa: B018
        shown += [str(missing.value), caplog.text]
    assert [part for part in _parts(key) for text in shown if part in text] == []
    assert not hasattr(signer, "__dict__")
    assert [name for name in dir(signer) if not name.startswith("_")] == ["public_key", "sign_certificate"]
