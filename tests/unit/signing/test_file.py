from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.pki.samples import NOW, PrivateKey, plan, private_key, sign

from trivet.pki.assembly import assemble
from trivet.pki.keys import spki
from trivet.pki.kubernetes import PROFILES
from trivet.pki.plan import Plan, WronglySignedError, issuer_of
from trivet.pki.profiles import AuthorityName
from trivet.pki.roots import RootAlgorithm, root_builder, root_subject, root_validity
from trivet.pki.serials import serial_from_random
from trivet.signing import file, signer
from trivet.signing.aws_lc import AwsLcEngine
from trivet.signing.encryption import KeyEncryptionKey, WrongKeyError
from trivet.signing.engine import CRYPTOGRAPHY, Engine
from trivet.signing.file import Keyring, Opened, generate_key, sign_root
from trivet.signing.signer import Signer, sign_certificates

KEY_ENCRYPTION_KEY = KeyEncryptionKey(bytes(range(32)))


def _made(signer: Signer, planned: Plan) -> bytes:
    (made,) = sign_certificates([(signer, planned)])
    if isinstance(made, Exception):
        raise made
    return made


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


def _signer(keyring: Keyring, stored: Stored) -> Signer:
    return keyring.signer(stored.id, stored.certificate, stored.private_key)


ENGINES = (CRYPTOGRAPHY, AwsLcEngine())


def _leaf(opened: Opened) -> Plan:
    return replace(plan(PROFILES["kubelet-client"], private_key("P-384", 9)), issuer=opened.issuer)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("kind", "name"), [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512"), ("RSA-2048", "sha256")]
)
def test_a_signer_signs_with_the_stored_key_and_a_digest_about_as_strong(
    kind: str, name: str, engine: Engine
) -> None:
    stored = _stored(kind)
    opened = Keyring(KEY_ENCRYPTION_KEY, engine).open(stored.id, stored.certificate, stored.private_key)
    signed = x509.load_der_x509_certificate(_made(opened.signer, _leaf(opened)))
    root = x509.load_der_x509_certificate(stored.certificate)
    signed.verify_directly_issued_by(root)
    assert opened.issuer == issuer_of(root)
    assert spki(opened.signer.public_key) == spki(root.public_key())
    assert signed.signature_hash_algorithm is not None
    assert signed.signature_hash_algorithm.name == name


def test_what_differs_from_its_plan_is_signed_but_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _stored()
    opened = Keyring(KEY_ENCRYPTION_KEY).open(stored.id, stored.certificate, stored.private_key)
    planned = _leaf(opened)

    def other(plan: Plan) -> bytes:
        return assemble(replace(plan, serial=serial_from_random(5)))

    monkeypatch.setattr(signer, "assemble", other)
    with pytest.raises(WronglySignedError, match=r"in serialNumber$"):
        _made(opened.signer, planned)


@pytest.mark.parametrize(
    ("kind", "name"), [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512"), ("RSA-2048", "sha256")]
)
def test_a_root_is_signed_by_the_same_algorithm_as_its_certificates(kind: str, name: str) -> None:
    key = private_key(kind)
    assert not isinstance(key, ed25519.Ed25519PrivateKey)
    root = sign_root(key, _builder(key))
    root.verify_directly_issued_by(root)
    assert root.signature_hash_algorithm is not None
    assert root.signature_hash_algorithm.name == name


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
    found: list[Signer] = []
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


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_a_key_shows_in_reprs_errors_or_logs(
    caplog: pytest.LogCaptureFixture, engine: Engine
) -> None:
    key, stored = private_key("P-384"), _stored()
    keyring = Keyring(KEY_ENCRYPTION_KEY, engine)
    with caplog.at_level(logging.DEBUG):
        opened = keyring.open(stored.id, stored.certificate, stored.private_key)
        signer = opened.signer
        shown = [repr(signer), str(signer), f"{[signer]}", repr(opened), repr(keyring), repr(vars(keyring))]
        for broken in (
            replace(stored, private_key=b"damaged"),
            replace(stored, certificate=_stored(number=1).certificate),
        ):
            with pytest.raises(WrongKeyError) as caught:
                _signer(Keyring(KEY_ENCRYPTION_KEY, engine), broken)
            shown.append("".join(traceback.format_exception(caught.value)))
        with pytest.raises(AttributeError) as missing:
            signer.nothing  # type: ignore[attr-defined]  # noqa: B018
        shown += [str(missing.value), caplog.text]
    assert [part for part in _parts(key) for text in shown if part in text] == []
    assert not hasattr(signer, "__dict__")
    assert [name for name in dir(signer) if not name.startswith("_")] == ["public_key", "sign"]
