"""The window of recent events, by which a second copy of an event is known.

A ring of keys by offset, with hash chains through it as in Lempel-Ziv compressors (RFC 1951, section 4): a
table holds the latest offset of each hash, and every offset points back to the one before it with the same
hash. All of it in numpy arrays that are looked up and extended a whole batch at a time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys: TypeAlias = npt.NDArray[np.uint64]
"""n keys of two words each, shape (n, 2)."""
Longs: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_SECRET: Final = secrets.token_bytes(16)
# Odd multipliers that nobody outside knows: ids cannot be chosen so that all of them fall into one chain.
_MIX: Final = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(2))


def keys_of(account_ids: Any, event_ids: Any) -> Keys:
    """Return a key of 128 bits for each (account, event id).

    The key is the event id with a keyed hash of the account upon it. Without the secret no two different
    pairs can be made that share a key.

    Args:
        account_ids: a pyarrow array of n strings, plain or dictionary-encoded.
        event_ids: a pyarrow array of n UUIDs of 16 bytes.
    """
    accounts = account_ids
    if not isinstance(accounts, pa.DictionaryArray):
        accounts = accounts.dictionary_encode()
    hashes = b"".join(
        hashlib.blake2b(account.encode(), digest_size=16, key=_SECRET).digest()
        for account in accounts.dictionary.to_pylist()
    )
    by_account = np.frombuffer(hashes, np.uint64).reshape(-1, 2)
    fixed = event_ids.cast(pa.binary(16))
    data: Any = fixed.buffers()[1]
    # An empty array may own a few bytes that are no whole key.
    ids = np.frombuffer(data, np.uint64, 2 * (fixed.offset + len(fixed))).reshape(-1, 2)[fixed.offset :]
    keys: Keys = ids ^ by_account[accounts.indices.to_numpy()]
    return keys


class Window:
    """The accepted events of the last offsets of one partition. Not thread-safe.

    Memory: 24 bytes for each offset of its size, rounded up to a power of two, taken as it fills.

    Args:
        offsets_max: how many offsets it reaches back.
    """

    def __init__(self, offsets_max: int) -> None:
        bits = max(offsets_max - 1, 1).bit_length()
        capacity = 1 << bits
        self._ring = np.uint64(capacity - 1)
        self._shift = np.uint64(64 - bits)
        # One word is nearly always enough to tell keys apart, so each has an array of its own.
        self._first_words = np.zeros(capacity, np.uint64)
        self._second_words = np.zeros(capacity, np.uint64)
        # How far back the offset before with the same hash is; 0 for none.
        self._back = np.zeros(capacity, np.uint32)
        # The lower half of the latest offset of each hash. What is too old or wrapped round is found out by
        # comparing keys: the ring holds none but those of its last offsets.
        self._latest = np.zeros(capacity, np.uint32)

    def duplicates(self, keys: Keys, first_offset: int, offsets_max: int) -> Mask:
        """Tell which events of a batch are copies of an earlier one.

        Args:
            keys: of the batch's events in the order of their offsets.
            first_offset: where the batch starts: the window has been extended up to there.
            offsets_max: how far to look back from there, at most the window's size.

        Returns:
            A mask: True where the key is in the window, or occurs earlier in the batch.
        """
        known = _repeated(keys)
        if not offsets_max:
            return known
        slots = self._slots(keys)
        ages = (np.uint32(first_offset & 0xFFFFFFFF) - self._latest[slots]).astype(np.int64)
        reach = min(offsets_max, first_offset)
        active = np.flatnonzero((ages > 0) & (ages <= reach))
        ages, second_words = ages[active], keys[active, 1]
        while len(active):
            places = (np.uint64(first_offset) - ages.astype(np.uint64) & self._ring).astype(np.intp)
            same = self._second_words[places] == second_words
            if same.any():
                same[same] = self._first_words[places[same]] == keys[active[same], 0]
                known[active[same]] = True
            steps = self._back[places].astype(np.int64)
            ages = ages + steps
            on = np.flatnonzero(~same & (steps > 0) & (ages <= reach))
            active, ages, second_words = active[on], ages[on], second_words[on]
        return known

    def extend(self, keys: Keys, offsets: Longs, first_offset: int, last_offset: int) -> None:
        """Add the accepted events of the next range.

        Args:
            keys: of the accepted events.
            offsets: their offsets, ascending.
            first_offset, last_offset: the range, both ends included, following the one before.
        """
        capacity = len(self._back)
        for covered in self._slices(max(first_offset, last_offset + 1 - capacity), last_offset + 1):
            self._first_words[covered] = self._second_words[covered] = 0
        # A row that is stored twice comes twice.
        kept = np.concatenate([[True], np.diff(offsets) > 0])[: len(offsets)]
        kept &= offsets > last_offset - capacity
        keys, offsets = keys[kept], offsets[kept]
        if not len(keys):
            return
        ordered, order = _sorted(self._slots(keys))
        at = offsets[order]
        begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        back = np.concatenate([[0], np.diff(at)])
        earlier = self._latest[ordered[begins]]
        back[begins] = (at[begins] & 0xFFFFFFFF).astype(np.uint32) - earlier
        back[back > capacity] = 0
        places = offsets & (capacity - 1)
        self._first_words[places], self._second_words[places] = keys[:, 0], keys[:, 1]
        self._back[places[order]] = back
        ends = np.concatenate([begins[1:], [True]])
        self._latest[ordered[ends]] = (at[ends] & 0xFFFFFFFF).astype(np.uint32)

    def _slices(self, start: int, stop: int) -> Iterator[slice]:
        """Yield where the ring holds the offsets from `start` up to, without, `stop`."""
        capacity = len(self._back)
        while start < stop:
            at = start % capacity
            length = min(stop - start, capacity - at)
            yield slice(at, at + length)
            start += length

    def _slots(self, keys: Keys) -> npt.NDArray[np.intp]:
        mixed = (keys[:, 0] * _MIX[0] + keys[:, 1]) * _MIX[1]
        return (mixed >> self._shift).astype(np.intp)


def _sorted(slots: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return slots in ascending order and where each of them was, equal ones in the order they had.

    Slots and places are less than 2**32. Sorted as one number each, they need no stable sort, and a plain
    one is several times faster.
    """
    packed = (slots << 32) | np.arange(len(slots))
    packed.sort()
    return packed >> 32, packed & 0xFFFFFFFF


def _repeated(keys: Keys) -> Mask:
    """Return a mask of the keys that occur earlier among these."""
    repeated = np.zeros(len(keys), bool)
    mixed = np.sort(keys[:, 0] * _MIX[1] + keys[:, 1])
    if (mixed[1:] == mixed[:-1]).any():
        _, first = np.unique(np.ascontiguousarray(keys).view("V16").ravel(), return_index=True)
        repeated[:] = True
        repeated[first] = False
    return repeated
