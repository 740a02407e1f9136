"""What must be true at the end: an account of every offset, made without any code of the consumer's.

It is what `auditlog check` promises, and more, since the simulation knows what was published.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from auditlog_storage.ledger import Range
from simulated.clickhouse_model import EngineModel, StoredRow
from simulated.kafka_model import KafkaModel
from simulated.payloads import Payload
from simulated.scenario import Scenario


@dataclass(slots=True)
class Tally:
    """How many offsets came to which end, of all partitions."""

    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    absent: int = 0
    lost: int = 0


class Oracle:
    """Looks at the final state of both models.

    Args:
        scenario: what was to happen.
        published: by partition, what is at each offset that holds a message.
    """

    def __init__(
        self,
        scenario: Scenario,
        kafka: KafkaModel,
        engine: EngineModel,
        published: list[dict[int, Payload]],
    ) -> None:
        self._scenario = scenario
        self._kafka = kafka
        self._engine = engine
        self._published = published
        self._may_lose = bool(scenario.weather.retention)
        self._catalogs = scenario.weather.catalogs
        self._letters: dict[tuple[int, int], set[bytes | None]] = {}
        for letter in kafka.letters:
            assert letter.key is not None
            topic_id, partition, offset = letter.key.decode().split("/")
            assert topic_id == str(kafka.topic_id)
            self._letters.setdefault((int(partition), int(offset)), set()).add(letter.value)
        self.tally = Tally()

    def examine(self) -> list[str]:
        """Return everything that is wrong, nothing if all is right."""
        found = list(self._kafka.faults)
        for partition in range(len(self._kafka.logs)):
            found += [f"partition {partition}: {each}" for each in self._examine(partition)]
        return found

    def _examine(self, partition: int) -> list[str]:
        log = self._kafka.logs[partition]
        ranges = self._engine.ranges(self._kafka.topic_id, partition)
        by_offset: dict[int, list[StoredRow]] = {}
        for row in self._engine.rows[self._kafka.topic_id, partition]:
            by_offset.setdefault(row.kafka_offset, []).append(row)
        expected = ranges[0].first_offset if ranges else log.low
        if expected > 0 and not self._may_lose:
            return [f"the ledger starts at {expected}"]
        found: list[str] = []
        for range in ranges:
            if range.first_offset != expected:
                found.append(f"the ledger goes from {expected - 1} to {range.first_offset}")
            expected = max(expected, range.next_offset)
            found += self._examine_range(partition, range, by_offset)
        if expected != log.high:
            found.append(f"the ledger ends at {expected}, Kafka's log at {log.high}")
        if by_offset and max(by_offset) >= expected:
            found.append(f"offset {max(by_offset)} is stored beyond the ledger's end {expected}")
        return found

    def _examine_range(
        self, partition: int, range: Range, by_offset: dict[int, list[StoredRow]]
    ) -> list[str]:
        found: list[str] = []
        ends: Counter[str] = Counter()
        for offset in _offsets(range):
            end, wrong = self._end_of(partition, offset, range, by_offset)
            ends[end] += 1
            found += [f"offset {offset}: {each}" for each in wrong]
        counted = (range.accepted, range.rejected, range.duplicates, range.absent)
        if range.kind == "lost":
            self.tally.lost += range.absent
            if not self._may_lose:
                found.append(f"{range.first_offset}-{range.last_offset} is recorded as lost")
            counted, seen = (
                (range.accepted, 0, 0, range.absent),
                (ends["stored"], 0, 0, len(_offsets(range)) - ends["stored"]),
            )
        else:
            # A letter of a first try, under a shorter catalog; under a longer one it is a copy.
            dead = ends["dead"] + min(max(range.rejected - ends["dead"], 0), ends["dead or copy"])
            copies = ends["duplicate"] + ends["dead"] + ends["dead or copy"] - dead
            seen = (ends["stored"], dead, copies, ends["absent"])
            self.tally.rejected += seen[1]
            self.tally.duplicates += seen[2]
            self.tally.absent += seen[3]
        self.tally.accepted += ends["stored"]
        if counted != seen:
            found.append(f"{range.first_offset}-{range.last_offset} is recorded as {counted}, found {seen}")
        return found

    def _end_of(
        self, partition: int, offset: int, range: Range, by_offset: dict[int, list[StoredRow]]
    ) -> tuple[str, list[str]]:
        """Return what became of one offset, and what is wrong with that."""
        rows, payload = by_offset.get(offset, []), self._published[partition].get(offset)
        letters = self._letters.get((partition, offset), set())
        if payload is None:
            wrong = (
                [f"holds no message, has {len(rows)} rows, {len(letters)} letters"] if rows or letters else []
            )
            return "absent", wrong
        wrong = [f"is stored {len(rows)} times"] if len(rows) > 1 else []
        if letters and (payload.kind == "good" or not _fits(payload, letters)):
            wrong.append(f"a {payload.kind} message is dead-lettered, or another message in its place")
        if rows:
            if rows[0].event_id != payload.event_id or rows[0].account_id != payload.account_id:
                wrong.append("another event is stored there")
            if letters and not self._catalogs:
                wrong.append("is both stored and dead-lettered")
            if self._copy_of(payload, offset, range.first_offset, by_offset) and self._is_strict(partition):
                wrong.append("is stored, and so is the event it is a copy of, within the window")
            return "stored", wrong
        is_copy = self._copy_of(payload, offset, range.first_offset, by_offset)
        if letters:
            return "dead or copy" if is_copy and self._catalogs else "dead", wrong
        if range.kind == "lost":
            return "lost", wrong
        if not is_copy:
            wrong.append(f"a {payload.kind} message is neither stored, nor dead-lettered, nor a copy")
        return "duplicate", wrong

    def _copy_of(
        self, payload: Payload, offset: int, range_first: int, by_offset: dict[int, list[StoredRow]]
    ) -> bool:
        """Tell whether the same event is stored at an earlier offset, within the window."""
        key = (payload.account_id, payload.event_id)
        return any(
            (row.account_id, row.event_id) == key
            for earlier, rows in by_offset.items()
            if range_first - self._scenario.window <= earlier < offset
            for row in rows
        )

    def _is_strict(self, partition: int) -> bool:
        """Tell whether every range was divided as it is recorded: nobody lost or overwrote an intent."""
        return partition not in self._kafka.disturbed and not self._may_lose


def _fits(payload: Payload, letters: set[bytes | None]) -> bool:
    return letters == {payload.value} or (payload.kind == "passed" and letters <= {payload.value, None})


def _offsets(each: Range) -> range:
    return range(each.first_offset, each.last_offset + 1)
