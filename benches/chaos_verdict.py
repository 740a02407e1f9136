"""After the chaos: what was published against what is stored or dead-lettered, apart from `auditlog check`.

An event must be stored exactly once, from the first of its copies in Kafka; a spoiled message must be
dead-lettered, once or more often; nothing else may be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from chaos_load import Load

from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_consumer.settings import ConsumerSettings
from auditlog_storage.connection import Connection

SHOWN_MAX: Final = 20
_PARTITION_SHIFT: Final = 48
_STORED: Final = "SELECT toString(event_id) AS id, kafka_partition, kafka_offset FROM audit_events"
_AT: Final = """
    SELECT event_id, action, _part, _part_offset, received_at FROM audit_events
    WHERE kafka_partition = {partition:Int32} AND kafka_offset = {offset:Int64}
"""
_RANGE: Final = """
    SELECT first_offset, last_offset, accepted, rejected, duplicates, absent, kind, recorded_at
    FROM audit_ranges FINAL
    WHERE kafka_partition = {partition:Int32}
      AND first_offset <= {offset:Int64} AND last_offset >= {offset:Int64}
"""


@dataclass(slots=True)
class Verdict:
    """Counts that must all be 0, and for each of them the first places where it went wrong.

    Attributes:
        missing: events that are in Kafka and not stored.
        doubled: rows beyond the first of an event.
        foreign: rows of events that were never published.
        misplaced: events stored from another copy than the first.
        letters_missing: spoiled messages without a dead letter.
        letters_foreign: dead letters of messages that were not spoiled.
        places: partition and offset of each trouble, by its name.
    """

    stored: int = 0
    letters: int = 0
    missing: int = 0
    doubled: int = 0
    foreign: int = 0
    misplaced: int = 0
    letters_missing: int = 0
    letters_foreign: int = 0
    places: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Tell whether everything is there once."""
        return not any(
            (
                self.missing,
                self.doubled,
                self.foreign,
                self.misplaced,
                self.letters_missing,
                self.letters_foreign,
            )
        )


def compare(load: Load, connection: Connection, settings: ConsumerSettings, topic_id: UUID) -> Verdict:
    """Compare the two sets; call it when nothing is under way any more."""
    table = connection.query_arrow(_STORED)
    ids = np.array(table.column("id").to_pylist(), "S36")
    places = _places(table.column("kafka_partition").to_numpy(), table.column("kafka_offset").to_numpy())
    verdict = Verdict(stored=len(ids))
    wanted = _places(load.partitions, load.offsets)
    published = np.isin(ids, load.ids)
    kept = np.isin(load.ids, ids)
    _note(verdict, "missing", wanted[~kept])
    _note(verdict, "foreign", places[~published])
    _, first = np.unique(ids, return_index=True)
    again = np.ones(len(ids), bool)
    again[first] = False
    _note(verdict, "doubled", places[again])
    _note(verdict, "misplaced", places[published & ~np.isin(places, wanted)])
    found = set(_letters(settings, topic_id))
    verdict.letters = len(found)
    _note(verdict, "letters_missing", load.bad - found)
    _note(verdict, "letters_foreign", found - load.bad)
    return verdict


def evidence(verdict: Verdict, connection: Connection) -> Iterator[str]:
    """Yield lines on what is stored at each place of trouble, and what the ledger says of it."""
    for name, places in verdict.places.items():
        for partition, offset in places[:SHOWN_MAX]:
            at = {"partition": partition, "offset": offset}
            yield f"{name}: partition {partition}, offset {offset}"
            for row in connection.query_rows(_AT, at):
                yield f"    row    {row}"
            for row in connection.query_rows(_RANGE, at):
                yield f"    range  {row}"


def _letters(settings: ConsumerSettings, topic_id: UUID) -> Iterator[tuple[int, int]]:
    for letter in DeadLetterLog(settings).read():
        with suppress(ValueError):
            if UUID(letter.source_topic_id) == topic_id:
                yield letter.source_partition, letter.source_offset


def _places(partitions: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return partition and offset as one number each."""
    return (partitions.astype(np.int64) << _PARTITION_SHIFT) | offsets.astype(np.int64)


def _note(verdict: Verdict, name: str, found: npt.NDArray[np.int64] | Iterable[tuple[int, int]]) -> None:
    if isinstance(found, np.ndarray):
        mask = (1 << _PARTITION_SHIFT) - 1
        found = [(int(place) >> _PARTITION_SHIFT, int(place) & mask) for place in found]
    where = sorted(found)
    setattr(verdict, name, len(where))
    if where:
        verdict.places[name] = where
