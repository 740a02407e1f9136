"""What no service should send: batches that grow when they are decompressed, messages too large for a letter.

Each test ends with the same account: every event before and behind the poison is stored, every poisoned
offset has its letter, and the check finds nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest

from auditlog_consumer import judge as judge_module
from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.dead_letter_log import DeadLetter, DeadLetterLog
from auditlog_consumer.dead_letters import KEY_BYTES_MAX, PIECE_BYTES_MAX
from auditlog_consumer.fetch.batches import BATCH_BYTES_MAX, RECORDS_MAX
from auditlog_consumer.messages import BATCH_BROKEN, BATCH_RULES, BATCH_TOO_LARGE
from auditlog_consumer.service import build_judge
from auditlog_local.child import Child, ChildSpec
from auditlog_schemas.codec import encode
from auditlog_schemas.errors import ConfigError
from kit.events import make_event
from kit.one_partition import OnePartition
from kit.pipeline import Pipeline
from kit.record_batches import Record, record_batch, send
from kit.topic_settings import alter

pytestmark = [pytest.mark.integration, pytest.mark.long]

MB: Final = 1 << 20
MEMORY_BYTES_MAX: Final = 700 * MB
BOMBS: Final = [
    ("gzip", 300 * MB),
    ("zstd", 90 * MB),
    ("zstd", 300 * MB),
    ("lz4", 90 * MB),
    *((codec, BATCH_BYTES_MAX + more) for codec in ("gzip", "zstd", "lz4") for more in (0, 1)),
]
"""Codec and size of one message of zeros. Snappy makes a twentieth at best, which no topic here takes."""
FITTING: Final = [
    *((codec, size) for codec in ("gzip", "zstd", "lz4", "snappy") for size in (MB, 20 * MB)),
    ("gzip", BATCH_BYTES_MAX - 1_000),
    ("zstd", BATCH_BYTES_MAX - 1_000),
]


class Poisoned:
    """One partition of a topic, into which events and poison are put in turns."""

    def __init__(self, pipeline: Pipeline, partition: int = 0) -> None:
        self.pipeline = pipeline
        self.partition = partition
        self.event_ids: list[object] = []
        self.poisoned: dict[int, str] = {}

    def events(self, count: int = 2) -> None:
        """Publish some good events in one batch."""
        events = [make_event() for _ in range(count)]
        self.event_ids += [event.event_id for event in events]
        records = [Record(encode(event.to_record()), event.account_id.encode()) for event in events]
        self._send(record_batch(records, "lz4"))

    def batch(self, batch: bytes, rule: str, count: int = 1) -> int:
        """Publish a batch whose messages must be rejected by a rule; return its first offset."""
        first = self._send(batch)
        self.poisoned |= dict.fromkeys(range(first, first + count), rule)
        return first

    def require_account(self, letters: list[DeadLetter]) -> None:
        """Require that every poisoned offset of this partition has its letter, and nothing else has one."""
        ours = [letter for letter in letters if letter.source_partition == self.partition]
        found = {
            offset: letter.rule
            for letter in ours
            for offset in range(letter.source_offset, letter.source_last_offset + 1)
        }
        assert found == self.poisoned

    def _send(self, batch: bytes) -> int:
        return send(self.pipeline.settings.kafka, self.pipeline.topic, self.partition, batch)


def require_whole(pipeline: Pipeline, *poisoned: Poisoned) -> None:
    """Require the whole account: rows, letters, and a check that finds nothing."""
    assert sorted(map(str, pipeline.stored_ids())) == sorted(
        str(event_id) for each in poisoned for event_id in each.event_ids
    )
    letters = pipeline.dead_letters()
    for each in poisoned:
        each.require_account(letters)
    report = pipeline.check()
    assert report.accepted == sum(len(each.event_ids) for each in poisoned)
    assert report.rejected == sum(len(each.poisoned) for each in poisoned)


def test_batches_of_every_codec_and_size_are_passed_over_and_their_neighbours_stored(
    pipeline: Pipeline,
) -> None:
    poisoned = Poisoned(pipeline)
    batches = {}
    for codec, size in BOMBS:
        poisoned.events()
        batch = record_batch([Record(b"", b"bomb", size)], codec)
        batches[poisoned.batch(batch, BATCH_TOO_LARGE)] = batch
    for codec, size in FITTING:
        poisoned.events()
        poisoned.batch(record_batch([Record(b"x", None, size)], codec), "message_too_large")
    poisoned.batch(record_batch([Record(b"", None, MB)], "zstd", window_log=27), BATCH_BROKEN)
    poisoned.events()
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)
    for letter in pipeline.dead_letters():
        if letter.rule == BATCH_TOO_LARGE:
            # All but the offset and what the broker writes into the head is as it was sent.
            assert letter.body is not None
            assert letter.body[61:] == batches[letter.source_offset][61:]
            assert letter.reason == "undecodable"
            assert f"{len(letter.body):,} bytes" in letter.detail


def test_a_batch_that_is_passed_over_is_a_range_of_its_own(pipeline: Pipeline) -> None:
    poisoned = Poisoned(pipeline)
    poisoned.events(5)
    first = poisoned.batch(
        record_batch([Record(b"a"), Record(b"", None, 40 * MB), Record(b"b")], "gzip"), BATCH_TOO_LARGE, 3
    )
    poisoned.events(5)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)
    ranges = pipeline.connection.query_rows(
        "SELECT first_offset, last_offset, rejected FROM audit_ranges FINAL WHERE rejected > 0"
    )
    assert ranges == [(first, first + 2, 3)]
    bodies = [letter.body for letter in pipeline.dead_letters()]
    assert sorted(body is None for body in bodies) == [False, True, True], "the bytes are kept once"


def test_more_messages_than_are_taken_apart(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "LETTERS_OF_A_BATCH_MAX", 100)
    poisoned, count = Poisoned(pipeline), RECORDS_MAX + 1
    poisoned.events()
    poisoned.batch(record_batch([Record(None)] * count, "gzip"), BATCH_TOO_LARGE, count)
    poisoned.events()
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)
    assert len(pipeline.dead_letters()) <= 100


def test_very_many_small_messages_are_taken_apart_in_slices(pipeline: Pipeline) -> None:
    poisoned, count = Poisoned(pipeline), 150_000
    poisoned.events()
    poisoned.batch(record_batch([Record(None)] * count, "zstd"), "tombstone", count)
    poisoned.events()
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)


def incompressible(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


LARGE: Final = {
    "compresses well": (b"acc_1", 12 * incompressible(200_000)),
    "one byte more than a piece": (b"acc_1", incompressible(PIECE_BYTES_MAX + 1)),
    "just a piece": (b"acc_1", incompressible(PIECE_BYTES_MAX)),
    "a long key": (incompressible(KEY_BYTES_MAX + 1), b"x"),
    "a long key of a tombstone": (incompressible(KEY_BYTES_MAX + 1), None),
    "a long key of an empty message": (2 * incompressible(600_000), b""),
    "no key": (None, 5 * incompressible(700_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_message_of_any_size_has_its_letter_byte_for_byte(pipeline: Pipeline, name: str) -> None:
    key, value = LARGE[name]
    poisoned = Poisoned(pipeline)
    poisoned.events()
    rule = "tombstone" if value is None else "message_too_large" if len(value) > 256 * 1024 else ""
    rule = rule or ("empty_message" if value == b"" else "unknown_framing")
    batch = record_batch([Record(value, key)], "zstd")
    if len(batch) > MB:
        alter(pipeline, pipeline.topic, "max.message.bytes", str(8 * MB))
    poisoned.batch(batch, rule)
    poisoned.events()
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)
    [letter] = pipeline.dead_letters()
    assert (letter.source_key, letter.body) == (key, value)
    log = DeadLetterLog(pipeline.settings)
    assert log.find(letter.id) == letter
    # Nothing of it can be published again, and nothing breaks on it.
    assert log.replay([letter], build_judge(pipeline.settings)).still_rejected == 1


def test_pieces_of_a_writer_that_ended_are_no_letter(pipeline: Pipeline) -> None:
    poisoned = Poisoned(pipeline)
    poisoned.batch(record_batch([Record(12 * incompressible(200_000), b"k")], "zstd"), "message_too_large")
    with pipeline.running():
        pipeline.wait_until_caught_up()
    [letter] = pipeline.dead_letters()
    body = letter.body or b""
    key = letter.key.rpartition("/")[0] + "/77"
    headers: list[tuple[str, str | bytes | None]] = [
        ("sha256", hashlib.sha256(body).hexdigest().encode()),
        ("pieces", b"3"),
    ]
    writer = AcknowledgedWriter(pipeline.settings.kafka)
    for piece in (0, 1):
        headers_of_piece = [*headers, ("piece", str(piece).encode())]
        writer.write(pipeline.settings.dead_topic, [Outgoing(key.encode(), b"cut", headers_of_piece)])
    writer.close()
    assert pipeline.dead_letters() == [letter]
    require_whole(pipeline, poisoned)


def test_a_topic_that_takes_larger_batches_than_are_read_is_refused(pipeline: Pipeline) -> None:
    alter(pipeline, pipeline.topic, "max.message.bytes", str(BATCH_BYTES_MAX + 1))
    with (
        pytest.raises(
            ConfigError, match=r"max\.message\.bytes=33554433: a batch of more than 33,554,432 bytes"
        ),
        pipeline.running() as stop,
    ):
        stop.wait(30)


@pytest.mark.parametrize("last", [3, 4, 5])
def test_an_announced_range_that_ends_within_a_batch_that_is_passed_over_is_replayed(
    pipeline: Pipeline, last: int
) -> None:
    one = OnePartition(pipeline)
    poisoned = Poisoned(pipeline, one.partition.number)
    poisoned.events(3)
    poisoned.batch(record_batch([Record(b"", None, 20 * MB)] * 3, "gzip"), BATCH_TOO_LARGE, 3)
    poisoned.events(3)
    one.announce(one.intent(0, last))
    with pipeline.running():
        pipeline.wait_until_caught_up()
    require_whole(pipeline, poisoned)
    assert one.ranges()[0].last_offset == last


def test_rows_of_a_batch_that_is_passed_over_now_stay(pipeline: Pipeline) -> None:
    """Another version took it apart, stored its rows and died before it could record them."""
    one = OnePartition(pipeline)
    poisoned = Poisoned(pipeline, one.partition.number)
    poisoned.events(3)
    first = poisoned.batch(record_batch([Record(b"", None, 20 * MB)] * 3, "gzip"), BATCH_TOO_LARGE, 3)
    row = one.rows(0, 2).slice(0, 1)
    at = row.schema.get_field_index("kafka_offset")
    one.insert(row.set_column(at, "kafka_offset", pa.array([first + 1], pa.int64())), "another version's")
    poisoned.events(3)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert one.stored() == [0, 1, 2, first + 1, 6, 7, 8]
    assert sorted(letter.source_offset for letter in pipeline.dead_letters()) == [first, first + 2]
    report = pipeline.check()
    assert (report.accepted, report.rejected) == (7, 2)


@contextmanager
def consumer_process(pipeline: Pipeline, directory: Path) -> Iterator[Child]:
    """Run a consumer as `auditlog consume` does, in a process of its own."""
    environment = {
        "AUDITLOG_KAFKA": pipeline.settings.kafka,
        "AUDITLOG_CLICKHOUSE_URL": pipeline.clickhouse_url,
        "AUDITLOG_TOPIC": pipeline.topic,
        "AUDITLOG_GROUP": pipeline.settings.group,
        "AUDITLOG_FLUSH_INTERVAL_SECONDS": "0.2",
        "AUDITLOG_SESSION_TIMEOUT_SECONDS": "6",
    }
    child = Child(
        ChildSpec("consumer", (sys.executable, "-m", "auditlog_cli", "consume"), environment), directory
    )
    child.start()
    try:
        yield child
    finally:
        child.stop()


def peak_bytes(child: Child) -> int:
    """Return the most memory that the consumer behind a leash has had."""
    assert child.pid is not None
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            if os.getpgid(int(status.parent.name)) == child.pid:
                peaks.append(int(text.partition("VmHWM:")[2].split()[0]) * 1024)
        except (OSError, IndexError, ValueError):
            continue
    return max(peaks)


def test_bombs_in_every_partition_and_a_kill_keep_memory_bounded(pipeline: Pipeline, tmp_path: Path) -> None:
    bombs = [record_batch([Record(b"", None, size)], codec) for codec, size in BOMBS[:4]]
    all_poisoned = [Poisoned(pipeline, partition) for partition in range(8)]
    for poisoned in all_poisoned:
        poisoned.events(3)
        for bomb in bombs:
            poisoned.batch(bomb, BATCH_TOO_LARGE)
            poisoned.events(1)
    large = record_batch([Record(b"x", None, 30 * MB)], "gzip")
    with consumer_process(pipeline, tmp_path) as child:
        deadline = time.monotonic() + 120
        while not pipeline.stored_ids():
            assert time.monotonic() < deadline, child.tail()
            time.sleep(0.02)
        child.kill()
    for poisoned in all_poisoned:
        for _ in range(4):
            poisoned.batch(large, "message_too_large")
        poisoned.events(2)
    with consumer_process(pipeline, tmp_path) as child:
        pipeline.wait_until_caught_up()
        peak = peak_bytes(child)
    require_whole(pipeline, *all_poisoned)
    assert 0 < peak < MEMORY_BYTES_MAX, f"{peak / MB:.0f} MB"


def test_a_batch_that_was_passed_over_is_never_published_again(pipeline: Pipeline) -> None:
    poisoned = Poisoned(pipeline)
    poisoned.batch(record_batch([Record(b"", None, 40 * MB)], "gzip"), BATCH_TOO_LARGE)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    [letter] = pipeline.dead_letters()
    assert letter.rule in BATCH_RULES
    done = DeadLetterLog(pipeline.settings).replay([letter], build_judge(pipeline.settings))
    assert (done.replayed, done.still_rejected) == (0, 1)
