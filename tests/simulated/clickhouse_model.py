"""A model of the ClickHouse engine: parts, tokens and the ledger, and how an insert goes through.

What it takes from the real engine, each a case of `test_contract_clickhouse` unless docs/simulation.md says
why it cannot be one:

- an insert makes one part for each engine partition (account bucket, entity type), one after the other;
- a token is remembered for each engine partition that it made a part in, the latest so many parts of the
  table; a part whose token is known is dropped, whatever its rows, and the insert says OK;
- a live engine logs a token and shows the part in one step; a killed one may have logged the token of a part
  that it never showed;
- a deadline is looked at when the insert begins; what has begun goes on whatever the clock says, and is
  visible within `visible_seconds_max`;
- of two ledger rows with the same key the one with the larger last offset stays, of equal ones the later.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import pyarrow as pa

from auditlog_schemas.errors import StorageUnavailable
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.ledger import Range
from simulated.kernel import Kernel
from simulated.network import Answer, Server
from simulated.scenario import Scenario
from simulated.sim_runtime import DAY_ONE
from simulated.weather import Weather

TOKENS_MAX: Final = 10_000
CRASHED_CLAIMS: Final = 0.3
"""How often a server that crashes at all does so between a claim's token and its part."""

Place: TypeAlias = tuple[int, str]
"""An engine partition: account bucket and entity type."""


class StoredRow(NamedTuple):
    """What the model keeps of a row: where it came from and what makes it known."""

    kafka_partition: int
    kafka_offset: int
    account_id: str
    event_id: bytes


class Arrived:
    """An insert that arrived: its deadline, and the parts that are still to be stored, in order."""

    def __init__(
        self,
        token: str | None,
        parts: list[tuple[Place, list[StoredRow]]],
        topic_id: UUID,
        deadline: datetime | None,
    ) -> None:
        self.token = token
        self.parts = parts
        self.topic_id = topic_id
        self.deadline = deadline


class EngineModel(Server):
    """One ClickHouse server and its tables.

    Args:
        kernel: the scheduler.
        scenario: tells how long an insert may wait, and how long it may take once it has begun.
        tokens_max: the deduplication window, in parts.

    Attributes:
        rows: what a reader sees, by topic id and Kafka partition, in the order in which it was stored.
        ledger: what FINAL shows, by topic id, Kafka partition and first offset.
        claims: by topic id, the numbers and groups of its claims, in the order in which they were stored.
        clock_error: how far its clock is from the right time.
    """

    def __init__(self, kernel: Kernel, scenario: Scenario, tokens_max: int = TOKENS_MAX) -> None:
        super().__init__("ClickHouse", StorageUnavailable)
        self.rows: dict[tuple[UUID, int], list[StoredRow]] = defaultdict(list)
        self.ledger: dict[tuple[UUID, int, int], Range] = {}
        self.claims: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
        self.clock_error = timedelta(0)
        self.tokens_max = tokens_max
        self._kernel = kernel
        self._scenario = scenario
        self._tokens: OrderedDict[tuple[Place, str], None] = OrderedDict()
        self._under_way: list[Arrived] = []

    @property
    def busy(self) -> bool:
        """Tell whether inserts are being carried out."""
        return bool(self._under_way)

    def now(self) -> datetime:
        """Return the engine's time of day."""
        return DAY_ONE + timedelta(seconds=self._kernel.now) + self.clock_error

    def take_insert(self, arrived: Arrived, weather: Weather, answer: Answer) -> None:
        """Carry an insert out, unless it is too late: part by part, and then answer None.

        Args:
            arrived: the insert; it may have to wait before it begins.
            weather: tells how likely it waits, and how likely each part takes long.
            answer: gets None, or InsertTooLate.
        """
        draw, incarnation = self._kernel.random, self.incarnation

        def begin() -> None:
            if self.incarnation != incarnation:
                return
            if self._is_over(arrived.deadline):
                answer(InsertTooLate("the engine's clock is past the deadline"))
            else:
                self._begin(arrived, weather.slow, answer)

        if weather.queued and draw.random() < weather.queued:
            self._kernel.at(draw.random() ** 3 * self._scenario.queued_seconds_max, begin)
        else:
            begin()

    def _begin(self, arrived: Arrived, slow: float, answer: Answer) -> None:
        self._under_way.append(arrived)
        end = self._kernel.now + self._scenario.visible_seconds_max
        incarnation = self.incarnation

        def go_on() -> None:
            if self.incarnation != incarnation:
                return
            if arrived.parts:
                self._store(arrived)
            if arrived.parts:
                self._kernel.at(self._pace(slow, end), go_on)
            else:
                self._under_way.remove(arrived)
                answer(None)

        self._kernel.at(self._pace(slow, end), go_on)

    def crash(self) -> None:
        """Die and come back at once, with what was logged and what was shown."""
        self._kernel.trace("ClickHouse", "CRASH")
        for arrived in self._under_way:
            for place, rows in arrived.parts[: self._kernel.random.randint(0, 2)]:
                # Each part may be lost between the log and the rename, be stored whole, or be lost wholly.
                fate = self._kernel.random.random()
                if fate < 0.6 and self._log_token(place, arrived.token) and fate < 0.2:
                    self._show(arrived.topic_id, rows)
        self._under_way.clear()
        self.go_down()
        self.come_up()

    def take_range(self, range: Range, deadline: datetime | None) -> InsertTooLate | None:
        """Take a ledger row, unless it is too late; which one stays is decided as a merge would."""
        if self._is_over(deadline):
            return InsertTooLate("the engine's clock is past the deadline")
        key = (range.topic_id, range.kafka_partition, range.first_offset)
        known = self.ledger.get(key)
        if known is None or range.last_offset >= known.last_offset:
            self.ledger[key] = range
        return None

    def take_claim(self, topic_id: UUID, number: int, group: str, token: str) -> None:
        """Take a claim, unless its token is known; now and then the server dies after it has logged one."""
        if not self._log_token((0, "claims"), token):
            self._kernel.trace("ClickHouse", f"token known: {token} drops the claim of {group}")
            return
        if self._scenario.weather.engine_crashes and self._kernel.random.random() < CRASHED_CLAIMS:
            self.crash()
            return
        self._kernel.trace("ClickHouse", f"claim {number} is of {group}")
        self.claims[topic_id].append((number, group))

    def _is_over(self, deadline: datetime | None) -> bool:
        return deadline is not None and self.now() > deadline

    def ranges(self, topic_id: UUID, kafka_partition: int) -> list[Range]:
        """Return a partition's ledger by first offset."""
        found = [each for key, each in self.ledger.items() if key[:2] == (topic_id, kafka_partition)]
        return sorted(found, key=lambda each: each.first_offset)

    def _pace(self, slow: float, end: float) -> float:
        draw = self._kernel.random
        left = end - self._kernel.now
        return draw.random() * (left * 0.9 if slow and draw.random() < slow else min(0.003, left))

    def _store(self, arrived: Arrived) -> None:
        place, rows = arrived.parts.pop(0)
        if self._log_token(place, arrived.token):
            self._show(arrived.topic_id, rows)
        else:
            self._kernel.trace(
                "ClickHouse", f"token known in {place}: {arrived.token} drops {len(rows)} rows"
            )

    def _show(self, topic_id: UUID, rows: list[StoredRow]) -> None:
        if self._kernel.traced:
            offsets = ",".join(str(row.kafka_offset) for row in rows)
            self._kernel.trace("ClickHouse", f"stored partition {rows[0].kafka_partition} offsets {offsets}")
        for row in rows:
            self.rows[topic_id, row.kafka_partition].append(row)

    def _log_token(self, place: Place, token: str | None) -> bool:
        if token is None:
            return True
        if (place, token) in self._tokens:
            return False
        self._tokens[place, token] = None
        while len(self._tokens) > self.tokens_max:
            self._tokens.popitem(last=False)
        return True


def parts_of(batch: pa.RecordBatch) -> tuple[UUID, list[tuple[Place, list[StoredRow]]]]:
    """Return the topic id of a batch's rows, and its parts in the order in which the engine writes them."""
    names = ("account_bucket", "entity_type", "kafka_partition", "kafka_offset", "account_id", "event_id")
    columns = [batch.column(name).to_pylist() for name in names]
    parts: dict[Place, list[StoredRow]] = {}
    for bucket, entity_type, *row in zip(*columns, strict=True):
        parts.setdefault((bucket, entity_type), []).append(StoredRow(*row))
    return UUID(bytes=batch.column("topic_id")[0].as_py()), list(parts.items())
