"""Taking Kafka's record batches apart, many records at once, within a bound that holds for whatever was sent.

Source: https://kafka.apache.org/documentation/#recordbatch, format 2, the only one that Kafka 4 keeps.
Brokers check what producers send, but not how much a batch is when it is decompressed: a kilobyte can be a
megabyte of zeros. What cannot be taken apart within the bound is passed over, with all that is known of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from auditlog_consumer.fetch.unpack import CODECS, Broken, TooLarge, unpack
from auditlog_consumer.messages import BATCH_BROKEN, BATCH_TOO_LARGE, Longs, Messages, PassedOver

BATCH_BYTES_MAX: Final = 32 << 20
"""Of one compressed batch, decompressed. Producers send a megabyte at most, unless told otherwise."""
RECORDS_MAX: Final = 1 << 19
"""Of one batch. So many events do not fit into `BATCH_BYTES_MAX`, but empty records of seven bytes would."""
SLICE_RECORDS_MAX: Final = 65_536
"""A batch of more records is taken apart in slices: a small record takes far more memory than its size."""
TOGETHER_BYTES: Final = 1 << 20
"""Small batches are taken apart together, up to about so many bytes: one numpy call serves them all."""

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_HEAD_BYTES: Final = _HEAD.size
_BEGINNING: Final = struct.Struct(">qiib")
"""Of the head: what all formats begin with."""
_PREFIX_BYTES: Final = 12
"""Base offset and length: what the length does not count."""
_MAGIC: Final = 2
_OFFSET_MAX: Final = (1 << 63) - 2
"""The next one must be an offset, too."""
_SIZE_OCTETS_MAX: Final = 5
_MILLIS_MAX: Final = 10_413_791_999_999
"""The end of 2299, and of ClickHouse's times. Before a topic has LogAppendTime, producers set any number."""
_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_ABORT: Final = 0
_PAD: Final = bytes(64)
"""Behind the last record, so that reading a few bytes too many stays inside the buffer."""

Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """The head of one batch, and its records as they were sent.

    Attributes:
        first_offset, last_offset: what it covers, whether or not there is a record for each.
        leader_epoch: of the leader that appended it.
        first_millis, last_millis: times since 1970 UTC.
        count: of its records, as it says itself.
        records: compressed as `codec` says.
        whole: the batch with its head.
    """

    first_offset: int
    last_offset: int
    leader_epoch: int
    magic: int
    attributes: int
    first_millis: int
    last_millis: int
    producer_id: int
    count: int
    records: memoryview
    whole: memoryview

    @property
    def codec(self) -> int:
        """Return the number of its codec."""
        return self.attributes & _CODEC


def record_batches(records: memoryview) -> Iterator[RecordBatch]:
    """Yield the whole batches at the beginning of what a broker sent; the last one may be cut off."""
    at = 0
    while at + _BEGINNING.size <= len(records):
        base, size, _, magic = _BEGINNING.unpack_from(records, at)
        end = at + _PREFIX_BYTES + size
        size_min = (_HEAD_BYTES if magic == _MAGIC else _BEGINNING.size) - _PREFIX_BYTES
        if size < size_min or end > len(records) or not 0 <= base <= _OFFSET_MAX:
            return
        yield _record_batch(records[at:end])
        at = end


def _record_batch(whole: memoryview) -> RecordBatch:
    base, _, epoch, magic = _BEGINNING.unpack_from(whole)
    if magic != _MAGIC:
        # Of another format nothing more is known.
        return RecordBatch(base, base, epoch, magic, 0, 0, 0, -1, 1, whole[len(whole) :], whole)
    _, _, _, _, _, attributes, last_delta, first_millis, last_millis, producer_id, _, _, count = (
        _HEAD.unpack_from(whole)
    )
    last = min(base + max(last_delta, 0), _OFFSET_MAX)
    times = (first_millis, min(max(last_millis, 0), _MILLIS_MAX))
    return RecordBatch(
        base, last, epoch, magic, attributes, *times, producer_id, count, whole[_HEAD_BYTES:], whole
    )


def take_apart(
    batches: Sequence[RecordBatch], from_offset: int, bytes_max: int = BATCH_BYTES_MAX
) -> Iterator[Messages]:
    """Yield the messages from `from_offset` on, in the order of their offsets, a slice at a time.

    Between two slices nothing but the current batch is held in decompressed form. A batch that cannot be
    taken apart within `bytes_max` becomes one of `Messages.passed`.
    """
    together: list[tuple[RecordBatch, bytes]] = []
    size = 0
    for batch in batches:
        if not (batch.count or batch.records):
            # All of its records are gone by compaction.
            continue
        try:
            together.append((batch, _unpacked(batch, bytes_max)))
        except (TooLarge, Broken) as error:
            yield from _records(together, from_offset)
            together, size = [], 0
            yield Messages.passing(_passed_over(batch, error).since(from_offset))
            continue
        size += len(together[-1][1])
        if size >= TOGETHER_BYTES:
            yield from _records(together, from_offset)
            together, size = [], 0
    yield from _records(together, from_offset)


def without_aborted(
    batches: Sequence[RecordBatch], aborted: Sequence[tuple[int, int]]
) -> Iterator[RecordBatch]:
    """Yield the batches that hold committed messages: no control batches, nothing of aborted transactions.

    Args:
        batches: in the order of their offsets.
        aborted: (producer id, first offset) of the transactions that were aborted, as the broker lists them.
    """
    coming = sorted(aborted, key=lambda each: each[1], reverse=True)
    open_producers: set[int] = set()
    for batch in batches:
        while coming and coming[-1][1] <= batch.last_offset:
            open_producers.add(coming.pop()[0])
        if batch.attributes & _CONTROL:
            if _ends_as_aborted(batch):
                open_producers.discard(batch.producer_id)
        elif not (batch.attributes & _TRANSACTIONAL and batch.producer_id in open_producers):
            yield batch


def _ends_as_aborted(marker: RecordBatch) -> bool:
    """Tell what a control batch's only record says: two bytes of version and two of kind, in its key."""
    try:
        key = _columns([(marker, bytes(marker.records))], [[0]]).keys[0] or b""
    except (Broken, IndexError):
        return False
    return len(key) >= 4 and int.from_bytes(key[2:4], "big") == _ABORT


def _unpacked(batch: RecordBatch, bytes_max: int) -> bytes:
    if batch.count > RECORDS_MAX:
        raise TooLarge(f"{RECORDS_MAX:,} messages")
    if batch.count < 0:
        raise Broken("it has less than no messages")
    if batch.magic != _MAGIC:
        raise Broken(f"format {batch.magic} of messages, from before Kafka 0.11, is not read")
    return unpack(batch.codec, batch.records, bytes_max) if batch.codec else bytes(batch.records)


def _records(together: list[tuple[RecordBatch, bytes]], from_offset: int) -> Iterator[Messages]:
    """Yield the messages of some decompressed batches; where that fails, of each batch by itself."""
    if not together:
        return
    try:
        starts = [_starts(data, batch.count) for batch, data in together]
        if len(together) > 1 and sum(map(len, starts)) > SLICE_RECORDS_MAX:
            for each in together:
                yield from _records([each], from_offset)
            return
        if len(together) == 1:
            yield from _slices(together[0], starts[0], from_offset)
        else:
            yield _since(_columns(together, starts), from_offset)
    except (Broken, IndexError) as error:
        if len(together) > 1:
            for each in together:
                yield from _records([each], from_offset)
            return
        batch = together[0][0]
        yield Messages.passing(_passed_over(batch, error).since(from_offset))


def _slices(each: tuple[RecordBatch, bytes], starts: list[int], from_offset: int) -> Iterator[Messages]:
    count = len(starts)
    # All of it must be right before the first slice goes out: a broken batch is passed over as a whole.
    parts = [slice(first, first + SLICE_RECORDS_MAX) for first in range(0, count, SLICE_RECORDS_MAX)]
    if len(parts) > 1:
        for part in parts:
            _columns([each], [starts[part]])
    for part in parts:
        if len(found := _since(_columns([each], [starts[part]]), from_offset)):
            yield found


def _since(messages: Messages, offset: int) -> Messages:
    return messages.between(int(np.searchsorted(messages.offsets, offset)), len(messages))


def _starts(data: bytes, count: int) -> list[int]:
    """Return where each record's length begins: a chain that only a loop can follow.

    Raises:
        Broken, IndexError: the records do not fill the data exactly.
    """
    starts = []
    at = 0
    for _ in range(count):
        starts.append(at)
        octet = data[at]
        at += 1
        if octet < 0x80:
            at += octet >> 1
            continue
        size, shift = octet & 0x7F, 7
        while octet >= 0x80:
            octet = data[at]
            at += 1
            size |= (octet & 0x7F) << shift
            shift += 7
            # Else a megabyte of them would become one very large number.
            if shift > 7 * _SIZE_OCTETS_MAX:
                raise Broken("a record's size has more than five bytes")
        at += size >> 1
    if at != len(data):
        raise Broken("the records are not as long as their batch")
    return starts


def _columns(together: Sequence[tuple[RecordBatch, bytes]], starts: Sequence[list[int]]) -> Messages:
    """Return some records of some batches by column.

    Raises:
        Broken, IndexError: a record is not what the format says.
    """
    data = b"".join([*(data for _, data in together), _PAD])
    octets = np.frombuffer(data, np.uint8)
    counts = [len(each) for each in starts]
    begins = np.cumsum([0, *(len(data) for _, data in together)])[:-1]
    at = np.concatenate([np.array(each, np.int64) for each in starts]) + np.repeat(begins, counts)
    size, at = _varints(octets, at)
    end = at + size
    millis, at = _varints(octets, at + 1)
    delta, at = _varints(octets, at)
    key_size, key_at = _varints(octets, at)
    value_size, value_at = _varints(octets, key_at + np.maximum(key_size, 0))
    if (size < 0).any() or (key_size < -1).any() or (value_size < -1).any():
        raise Broken("a record has a negative size")
    # Subtracted, since a sum with what a record claims may go beyond all numbers.
    if (np.maximum(value_size, 0) > end - value_at).any():
        raise Broken("a value is longer than its record")
    heads = [batch for batch, _ in together]
    first, last = _each(heads, "first_offset", counts), _each(heads, "last_offset", counts)
    offsets = first + delta
    if (delta < 0).any() or (delta > last - first).any() or (offsets[1:] <= offsets[:-1]).any():
        raise Broken("the records' offsets do not ascend within their batch")
    received = np.where(
        _each(heads, "attributes", counts) & _LOG_APPEND_TIME,
        _each(heads, "last_millis", counts),
        _each(heads, "first_millis", counts) + millis,
    )
    return Messages(
        _texts(data, value_at, value_size),
        _texts(data, key_at, key_size),
        offsets,
        np.clip(received, 0, _MILLIS_MAX),
        np.maximum(value_size, 0),
        np.maximum(key_size, 0),
    )


def _each(heads: Sequence[RecordBatch], name: str, counts: Sequence[int]) -> Longs:
    return np.repeat(np.array([getattr(head, name) for head in heads], np.int64), counts)


def _texts(data: bytes, at: Longs, size: Longs) -> list[bytes | None]:
    ends = (at + size).tolist()
    if (size < 0).any():
        nulls = (size < 0).tolist()
        return [
            None if null else data[start:end]
            for start, end, null in zip(at.tolist(), ends, nulls, strict=True)
        ]
    return [data[start:end] for start, end in zip(at.tolist(), ends, strict=True)]


def _varints(octets: Octets, at: Longs) -> tuple[Longs, Longs]:
    """Return the zigzag varint at each position, and the position behind it.

    Raises:
        Broken: one has more than ten bytes.
        IndexError: one lies beyond the data.
    """
    if len(at) and (at.min() < 0):
        raise Broken("a size is negative")
    octet = octets[at]
    value = (octet & 0x7F).astype(np.uint64)
    at = at + 1
    longer = np.flatnonzero(octet >= 0x80)
    shift = 7
    while len(longer):
        if shift > 63:
            raise Broken("a number has more than ten bytes")
        octet = octets[at[longer]]
        value[longer] |= (octet & 0x7F).astype(np.uint64) << np.uint64(shift)
        at[longer] += 1
        longer = longer[octet >= 0x80]
        shift += 7
    signs: Any = value & np.uint64(1)
    return (value >> np.uint64(1)).view(np.int64) ^ -(signs.view(np.int64)), at


def _passed_over(batch: RecordBatch, error: Exception) -> PassedOver:
    codec = CODECS[batch.codec] if batch.codec < len(CODECS) else "an unknown codec"
    about = (
        f"a record batch of {batch.count:,} messages, offsets {batch.first_offset} to {batch.last_offset}, "
        f"{len(batch.whole):,} bytes in {codec}"
    )
    if isinstance(error, TooLarge):
        rule, detail = BATCH_TOO_LARGE, f"{about}: it decompresses to more than {error}"
    else:
        rule, detail = BATCH_BROKEN, f"{about}: {error}"
    return PassedOver(
        batch.first_offset, batch.last_offset, batch.last_millis, rule, detail, bytes(batch.whole)
    )
