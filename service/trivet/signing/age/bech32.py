"""Bech32 (BIP 173), in which keys of age are written: a prefix, the octets, and a checksum that finds misspellings."""

from __future__ import annotations

from typing import Final

_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM: Final = 6


def encode(prefix: str, octets: bytes) -> str:
    """The octets in lower case, behind the prefix and a 1."""
    values = _regrouped(octets, 8, 5, pad=True)
    remainder = _remainder([*_expanded(prefix), *values, *[0] * _CHECKSUM]) ^ 1
    checksum = [(remainder >> 5 * (_CHECKSUM - 1 - place)) & 31 for place in range(_CHECKSUM)]
    return prefix + "1" + "".join(_LETTERS[value] for value in (*values, *checksum))


def decode(text: str) -> tuple[str, bytes]:
    """The prefix in lower case, and the octets.

    Raises:
        ValueError: it is mixed in case, misspelt or incomplete.
    """
    if text not in {text.lower(), text.upper()}:
        raise ValueError("upper and lower case are mixed")
    prefix, one, rest = text.lower().rpartition("1")
    if not prefix or not one or len(rest) < _CHECKSUM or not set(rest) <= set(_LETTERS):
        raise ValueError("it is incomplete, or holds letters that there are not")
    values = [_LETTERS.index(letter) for letter in rest]
    if _remainder([*_expanded(prefix), *values]) != 1:
        raise ValueError("its checksum is wrong: a letter was changed or left out")
    return prefix, bytes(_regrouped(values[:-_CHECKSUM], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _remainder(values: list[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            found ^= term if (top >> place) & 1 else 0
    return found


def _regrouped(values: bytes | list[int], size: int, wanted: int, *, pad: bool) -> list[int]:
    """The same bits in groups of another size.

    Raises:
        ValueError: what is left over is not padding.
    """
    held = bits = 0
    found = []
    for value in values:
        held, bits = (held << size | value) & 0xFFF, bits + size
        while bits >= wanted:
            bits -= wanted
            found.append(held >> bits & ((1 << wanted) - 1))
    left = held & ((1 << bits) - 1)
    if pad and bits:
        found.append(left << wanted - bits)
    elif not pad and (bits >= size or left):
        raise ValueError("its padding is wrong")
    return found
