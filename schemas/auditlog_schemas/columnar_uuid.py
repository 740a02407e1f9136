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
_GROUPS: Final = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))
_BAD: Final = 0x100


def _pairs() -> npt.NDArray[np.uint16]:
    """Map two characters, as one little-endian number, to the byte they stand for or to `_BAD`."""
    table = np.full(1 << 16, _BAD, np.uint16)
    digits = [(ord(char), int(char, 16)) for char in "0123456789abcdefABCDEF"]
    for high, high_value in digits:
        for low, low_value in digits:
            table[low << 8 | high] = high_value << 4 | low_value
    return table


_BYTE_OF_PAIR: Final = _pairs()


def parse_uuids(raw: bytes, start: Longs, length: Longs) -> tuple[Bytes, Flags]:
    """Return UUIDs as rows of 16 bytes, and which of the texts are none (their bytes mean nothing).

    Args:
        raw: the texts' bytes, with at least `TEXT_BYTES` more behind each start.
        start: where each text begins.
        length: how many bytes each text has.
    """
    at_each_byte = np.ndarray((len(raw) - TEXT_BYTES + 1,), f"V{TEXT_BYTES}", raw, strides=(1,))
    texts = at_each_byte[np.minimum(start, len(at_each_byte) - 1)].view(np.uint8).reshape(-1, TEXT_BYTES)
    digits = np.empty((len(texts), 32), np.uint8)
    filled = 0
    for first, stop in _GROUPS:
        digits[:, filled : filled + stop - first] = texts[:, first:stop]
        filled += stop - first
    values = _BYTE_OF_PAIR.take(digits.view("<u2"))
    bad = (length != TEXT_BYTES) | (np.bitwise_or.reduce(values, axis=1) >= _BAD)
    for dash in _DASHES:
        bad |= texts[:, dash] != ord("-")
    return values.astype(np.uint8), bad
