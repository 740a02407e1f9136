"""The bucket is Kafka's own hash: vectors from Apache Kafka's UtilsTest."""

from __future__ import annotations

import pytest

from auditlog_consumer.account_bucket import account_bucket, murmur2


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_agrees_with_kafka(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


def test_bucket_is_kafkas_partition_of_a_topic_with_eight() -> None:
    assert account_bucket("foobar") == (murmur2(b"foobar") & 0x7FFFFFFF) % 8
