"""The account's bucket: Kafka's own partitioning hash, so that a topic of 8 partitions has one bucket each.

Source: `murmur2` and `toPositive` in Apache Kafka's org.apache.kafka.common.utils.Utils; ClickHouse's
``kafkaMurmurHash`` is the same function.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from auditlog_storage.tables import ACCOUNT_BUCKETS

_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit hash as an unsigned integer."""
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        word = (word ^ (word >> 24)) * _M & _MASK
        value = (value * _M & _MASK) ^ word
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    value = (value ^ (value >> 13)) * _M & _MASK
    return value ^ (value >> 15)


@lru_cache(maxsize=100_000)
def account_bucket(account_id: str) -> int:
    """Return the bucket, 0 to 7, in which an account's rows are stored."""
    return (murmur2(account_id.encode()) & 0x7FFFFFFF) % ACCOUNT_BUCKETS
