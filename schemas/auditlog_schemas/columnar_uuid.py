"""UUIDs from their text, many at once.

Source: RFC 9562, section 4: 8-4-4-4-12 hexadecimal digits of either case.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from auditlog_schemas.columnar_cursor import Bytes, Flags, Longs

TEXT_BYTES: Final = 36
_DASHES: Final = (8, 13, 18, 23)
_DIGITS: Final = tuple(column for column in range(TEXT_BYTES) if column not in _DASHES)
_SOME_UUID: Final = np.frombuffer(b"00000000-0000-0000-0000-000000000000", np.uint8)
_NO_DIGIT: Final = 0x80


def _digit_values() -> bytes:
    """Map each byte to the value of the digit it stands for, or to `_NO_DIGIT`."""
    table = bytearray([_NO_DIGIT]) * 256
    for char in b"0123456789abcdefABCDEF":
        table[char] = int(chr(char), 16)
    return bytes(table)


_VALUES: Final = _digit_values()


def parse_uuids(raw: bytes, start: Longs, length: Longs) -> tuple[Bytes, Flags]:
    """Return UUIDs as rows of 16 bytes, and which of the texts are none (their bytes mean nothing).

    Args:
        raw: the texts' bytes, with at least `TEXT_BYTES` more behind each start.
        start: where each text begins.
        length: how many bytes each text has.
    """
    at_each_byte = np.ndarray((len(raw) - TEXT_BYTES + 1,), f"V{TEXT_BYTES}", raw, strides=(1,))
    texts = at_each_byte[np.minimum(start, len(at_each_byte) - 1)].view(np.uint8).reshape(-1, TEXT_BYTES)
    bad = length != TEXT_BYTES
    if bad.any():
        texts[bad] = _SOME_UUID
    digits = _all_digits(texts)
    if digits is None:
        bad |= _malformed(texts)
        texts[bad] = _SOME_UUID
        digits = _all_digits(texts)
        assert digits is not None
    # A pair as one little-endian number has its first digit, the higher one, in the low byte.
    return ((digits << 4) | (digits >> 8)).astype(np.uint8).reshape(-1, 16), bad


def _all_digits(texts: Bytes) -> npt.NDArray[np.uint16] | None:
    """Return the values of all digits, in pairs, or None unless every text is a UUID."""
    for dash in _DASHES:
        if (texts[:, dash] != ord("-")).any():
            return None
    values = texts.tobytes().translate(_VALUES, b"-")
    if len(values) != len(_DIGITS) * len(texts):
        return None
    pairs = np.frombuffer(values, "<u2")
    return None if np.bitwise_or.reduce(pairs) & (_NO_DIGIT << 8 | _NO_DIGIT) else pairs


def _malformed(texts: Bytes) -> Flags:
    """Tell which texts of the right length are no UUIDs."""
    malformed = np.zeros(len(texts), np.bool_)
    for dash in _DASHES:
        malformed |= texts[:, dash] != ord("-")
    values = np.frombuffer(texts.tobytes().translate(_VALUES), np.uint8).reshape(texts.shape)
    for digit in _DIGITS:
        malformed |= values[:, digit] == _NO_DIGIT
    return malformed
