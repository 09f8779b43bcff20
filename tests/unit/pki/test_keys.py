from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tests.unit.pki.samples import private_key

from trivet.pki.errors import BadPublicKeyError
from trivet.pki.keys import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    KeyAlgorithm,
    check_public_key,
    key_algorithm,
    spki,
    spki_sha256,
)
from trivet.pki.profiles import ALL_KEYS

ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


def refusal(key: object, accepted: frozenset[KeyAlgorithm] = ALL_KEYS) -> str:
    with pytest.raises(BadPublicKeyError) as caught:
        check_public_key(key, accepted)
    return caught.value.detail


def rsa_key(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def sound_numbers(bits: int = 4096) -> rsa.RSAPrivateNumbers:
    key = private_key(f"RSA-{bits}")
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.private_numbers()


def has_small_factor(number: int) -> bool:
    return any(number % divisor == 0 for divisor in range(2, 752))


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("P-256", "ECDSA-P256"),
        ("P-384", "ECDSA-P384"),
        ("P-521", "ECDSA-P521"),
        ("RSA-4096", "RSA"),
        ("Ed25519", "Ed25519"),
    ],
)
def test_the_accepted_kinds_of_key_are_known_by_name(kind: str, algorithm: str) -> None:
    key = private_key(kind).public_key()
    assert key_algorithm(key) == algorithm
    check_public_key(key, ALL_KEYS)
    check_public_key(key, frozenset([KeyAlgorithm(algorithm)]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP224R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        lambda: dsa.generate_private_key(2048),
        ed448.Ed448PrivateKey.generate,
        x25519.X25519PrivateKey.generate,
    ],
    ids=["P-224", "secp256k1", "brainpool", "DSA", "Ed448", "X25519"],
)
def test_other_kinds_of_key_are_refused(make: Callable[[], ed448.Ed448PrivateKey]) -> None:
    key = make().public_key()
    assert key_algorithm(key) is None
    assert refusal(key).endswith("ECDSA-P256, ECDSA-P384, ECDSA-P521, Ed25519, RSA")


def test_a_profile_may_accept_fewer_kinds_of_key() -> None:
    key = private_key("P-256").public_key()
    assert refusal(key, frozenset([KeyAlgorithm.P384])) == "the key must be one of ECDSA-P384"


def test_an_rsa_key_has_3072_to_8192_bits() -> None:
    assert "not 2048" in refusal(rsa_key(sound_numbers(2048).public_numbers.n))
    check_public_key(private_key("RSA-3072").public_key(), ALL_KEYS)
    assert "not 8193" in refusal(rsa_key((1 << MAX_RSA_BITS) + 1))
    assert "not 3071" in refusal(rsa_key((1 << (MIN_RSA_BITS - 1)) - 1))


@pytest.mark.parametrize("exponent", [3, 17, 65535, (1 << 256) + 1])
def test_an_rsa_key_with_a_small_or_huge_exponent_is_refused(exponent: int) -> None:
    modulus = sound_numbers().public_numbers.n
    assert "exponent" in refusal(rsa_key(modulus, exponent))
    check_public_key(rsa_key(modulus, 65539), ALL_KEYS)


@pytest.mark.parametrize("factor", [3, 5, 743, 751])
def test_an_rsa_modulus_with_a_small_factor_is_refused(factor: int) -> None:
    assert "small factor" in refusal(rsa_key(sound_numbers().p * factor << 2048 | factor))


def test_an_rsa_modulus_of_close_primes_is_refused() -> None:
    p = sound_numbers().p
    near = next(p + step for step in range(2, 10_000, 2) if not has_small_factor(p + step))
    assert "too close" in refusal(rsa_key(p * near))
    assert "too close" in refusal(rsa_key(p * p))


def test_an_rsa_modulus_of_the_flawed_generator_is_refused() -> None:
    product = math.prod(ROCA_PRIMES)
    residue = pow(65537, 12345, product)
    start = (1 << MIN_RSA_BITS) // product
    modulus = next(
        candidate
        for factor in range(start, start + 10_000)
        if (candidate := factor * product + residue) % 2 and not has_small_factor(candidate)
    )
    assert "ROCA" in refusal(rsa_key(modulus))


def test_the_hash_of_a_key_is_that_of_its_subject_public_key_info() -> None:
    key = private_key("P-256").public_key()
    assert load_der_public_key(spki(key)) == key
    assert spki_sha256(key) == hashlib.sha256(spki(key)).hexdigest()
