"""Finding holes in the sequence numbers of a source: events that were published and are not stored.

The SDK numbers the events of one of its instances 1, 2, 3, …; the numbers of one instance are spread over all
partitions. So a number only counts as missing once every partition has been consumed beyond the time when the
number after it was received.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from auditlog_consumer.check.repeated_ids import LIMITED
from auditlog_consumer.check.report import Report
from auditlog_schemas.codec import MessageDecoder, WriterSchemas
from auditlog_schemas.errors import InvalidEvent
from auditlog_storage.connection import Connection

Instance: TypeAlias = tuple[str, str]
"""A source's service and instance id."""

INSTANCES_MAX: Final = 20
HOLES_MAX: Final = 1_000
HOLES_NAMED_MAX: Final = 3
LETTERS_MAX: Final = 100_000
"""Sequence numbers of dead letters that are kept, of all instances together."""

# A range of n numbers, each there once, has n rows, a known sum and a known sum of squares, which cost no
# memory; sets of numbers would. Sources that only repeat numbers pass here and have no hole below. ClickHouse
# lets integers wrap, and a source may send any Int64: squares of it and cubes of its ends need 256 bits.
_INSTANCES: Final = """
    WITH toInt256(min(source_sequence)) AS low, toInt256(max(source_sequence)) AS high,
         high - low + 1 AS span,
         intDiv((low + high) * span, 2) AS sum_of_range,
         intDiv(high * (high + 1) * (2 * high + 1) - (low - 1) * low * (2 * low - 1), 6) AS squares_of_range
    SELECT source_service, source_instance_id FROM audit_events
    WHERE topic_id IN {topic_ids:Array(UUID)}
      AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    GROUP BY source_service, source_instance_id
    HAVING min(received_at) < fromUnixTimestamp64Milli({settled:Int64}, 'UTC')
       AND (count() != span OR sum(toInt128(source_sequence)) != sum_of_range
            OR sum(toInt256(source_sequence) * source_sequence) != squares_of_range)
    ORDER BY span - count() DESC, source_service, source_instance_id
    LIMIT {instances:UInt32}
"""

# Compared before anything is added: a number behind another one can be stepped back from, and one before
# another one stepped beyond, at both ends of Int64.
_HOLES: Final = """
    SELECT source_service, source_instance_id, before + 1, source_sequence - 1 FROM (
        SELECT source_service, source_instance_id, source_sequence, received_at,
               lagInFrame(source_sequence, 1, source_sequence) OVER (
                   PARTITION BY source_service, source_instance_id ORDER BY source_sequence
               ) AS before
        FROM audit_events
        WHERE (source_service, source_instance_id) IN {instances:Array(Tuple(String, String))}
          AND topic_id IN {topic_ids:Array(UUID)}
          AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    )
    WHERE source_sequence > before AND source_sequence - 1 > before
      AND received_at < fromUnixTimestamp64Milli({settled:Int64}, 'UTC')
    ORDER BY source_service, source_instance_id, source_sequence
    LIMIT {holes:UInt32} BY source_service, source_instance_id
"""


@dataclass(slots=True)
class Sequences:
    """The holes that were found, (first, last) by instance, and what the dead letters say of them."""

    holes: dict[Instance, list[tuple[int, int]]] = field(default_factory=dict)
    _lettered: dict[Instance, set[int]] = field(default_factory=dict)
    _letters: int = 0
    _decoder: MessageDecoder = field(default_factory=lambda: MessageDecoder(WriterSchemas()))

    def find(
        self, connection: Connection, topic_ids: Iterable[UUID], settled: datetime, since: datetime | None
    ) -> None:
        """Look for holes, among the rows of some topics, before rows that were received before `settled`.

        With `since`, only numbers between those received since then are looked for.
        """
        where: dict[str, object] = {
            "topic_ids": sorted(topic_ids),
            "since": int(since.timestamp() * 1000) if since else 0,
            "settled": int(settled.timestamp() * 1000),
        }
        found = connection.query_rows(_INSTANCES, where | {"instances": INSTANCES_MAX}, LIMITED)
        if not found:
            return
        wanted = where | {"instances": found, "holes": HOLES_MAX}
        for service, instance, first, last in connection.query_rows(_HOLES, wanted, LIMITED):
            self.holes.setdefault((service, instance), []).append((first, last))

    def note_letter(self, body: bytes) -> None:
        """Note the sequence number of a dead letter that can be decoded."""
        if not self.holes or self._letters >= LETTERS_MAX:
            return
        try:
            source = self._decoder.decode(body)["source"]
        except InvalidEvent:
            return
        instance = (source["service"], source["instance_id"])
        if instance in self.holes:
            self._letters += 1
            self._lettered.setdefault(instance, set()).add(source["sequence"])

    def report(self, report: Report) -> None:
        """Add a warning for each instance with numbers that no row and no dead letter has."""
        for (service, instance), holes in self.holes.items():
            missing = sum(last - first + 1 for first, last in holes)
            numbers = self._lettered.get((service, instance), set())
            lettered = sum(any(first <= number <= last for first, last in holes) for number in numbers)
            if missing <= lettered:
                continue
            places = ", ".join(
                str(first) if first == last else f"{first} to {last}"
                for first, last in holes[:HOLES_NAMED_MAX]
            )
            more = ", …" if len(holes) > HOLES_NAMED_MAX else ""
            least = "at least " if len(holes) >= HOLES_MAX else ""
            of_letters = f" ({lettered} of them are dead letters)" if lettered else ""
            report.add(
                "warning",
                "sequence_hole",
                f"source {service!r:.80}, instance {instance!r:.80}: {least}{missing} sequence numbers are "
                f"not stored{of_letters}: {places}{more}; these events never reached Kafka, or were rejected "
                "unreadably, lost, or numbered twice by their service",
            )
