"""Writers of the full-disk bench: each stores one partition's events batch by batch, as the consumer does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from event_load import POOL_EVENTS, STEP_MICROS, ordinary_pool

from auditlog_consumer.batch import Batch
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_consumer.service import build_judge
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import TerminalError, TransientError
from auditlog_storage.connection import Connection
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter

PARTITIONS: Final = 4
ROWS: Final = (50, 400)
_PAUSE_SECONDS: Final = 0.1
_COUNT: Final = """
    SELECT uniqExact(kafka_offset), count() FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32} AND kafka_offset < {until:Int64}
"""


@dataclass(frozen=True, slots=True)
class _Message:
    """One message as Kafka would hand it over."""

    at: int
    body: bytes
    account: bytes
    millis: int

    def value(self) -> bytes:
        return self.body

    def key(self) -> bytes:
        return self.account

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.millis


class Writers:
    """Writes to every partition at the same time.

    Attributes:
        acknowledged: by partition, the offset after the last one that was stored and read back.
        refused: errors after which nothing is tried again, and rows that were read back twice.
    """

    def __init__(self, connection: Connection, seed: int) -> None:
        self.acknowledged = dict.fromkeys(range(PARTITIONS), 0)
        self.refused: list[str] = []
        self._seed = seed
        self._topic_id = uuid4()
        self._judge = build_judge(ConsumerSettings.load(kafka="none.invalid:9092", topic="full-disk"))
        self._writer = EventWriter(connection)
        self._stored = StoredRows(connection)
        self._stop = threading.Event()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write meanwhile."""
        threads = [
            threading.Thread(target=self._write, args=(partition,), daemon=True)
            for partition in range(PARTITIONS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def count(self, partition: int, until: int) -> tuple[str, dict[str, object]]:
        """Return the query of how many offsets and rows are there below `until`."""
        return _COUNT, {"topic_id": self._topic_id, "partition": partition, "until": until}

    def _write(self, partition: int) -> None:
        for batch in self._batches(partition):
            try:
                stored = self._store(batch)
            except TerminalError as error:
                self.refused.append(f"{batch}: {error}"[:500])
                return
            if not stored:
                return
            self.acknowledged[partition] = batch.last_offset + 1

    def _store(self, batch: Batch) -> bool:
        """Return when the batch is read back; False when it is time to stop."""
        rows = missing = self._judge.judge(batch).rows
        token, step = f"{self._topic_id}/{batch.partition.number}/{batch.first_offset}", 0
        while not self._stop.is_set():
            try:
                self._writer.insert(missing, f"{token}/r{step}")
                acknowledged = True
            except TransientError:
                acknowledged = False
            found = self._read_back(batch)
            if found is None:
                return False
            missing = rows.filter(pc.invert(pc.is_in(rows.column("kafka_offset"), value_set=found)))
            if not missing.num_rows:
                return True
            step += acknowledged
        return False

    def _read_back(self, batch: Batch) -> pa.Array[Any] | None:
        """Return the stored offsets of a batch; None when it is time to stop."""
        at = batch.partition
        while not self._stop.is_set():
            try:
                found = self._stored.offsets(at.topic_id, at.number, batch.first_offset, batch.last_offset)
            except TransientError:
                self._stop.wait(_PAUSE_SECONDS)
                continue
            offsets = found.column("kafka_offset").combine_chunks()
            if len(offsets.unique()) < len(offsets):
                self.refused.append(f"{batch}: {len(offsets)} rows were read back")
            return offsets
        return None

    def _batches(self, partition: int) -> Iterator[Batch]:
        chance = random.Random(self._seed * PARTITIONS + partition)
        messages = self._messages(partition)
        first = 0
        while not self._stop.is_set():
            taken = [next(messages) for _ in range(chance.randint(*ROWS))]
            at = Partition("full-disk", self._topic_id, partition)
            yield Batch(at, first, first + len(taken) - 1, Messages.of(taken))
            first += len(taken)

    @staticmethod
    def _messages(partition: int) -> Iterator[_Message]:
        pool = ordinary_pool()
        offsets = count()
        for number in count(partition, PARTITIONS):
            millis = int(time.time() * 1000)
            values = pool.round(number, 1000 * millis - POOL_EVENTS * STEP_MICROS)
            for value, key in zip(values, pool.accounts(), strict=True):
                yield _Message(next(offsets), value, key, millis)
