"""What the ledger has recorded, as a snapshot that a cursor can carry."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from uuid import UUID

from auditlog_storage.account_query import AccountQuery
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger_ends import snapshot_of
from auditlog_storage.snapshot import Snapshot

PARTITIONS_IN_CURSOR_MAX: Final = 64
"""Partitions, and topics that are closed, of which a cursor names all."""


class Recorded:
    """The newest snapshot, at most so old; safe to share between threads.

    One that has reached half of that age is read anew beside those who ask, so that nobody waits for it
    while questions come often.
    """

    def __init__(self, query: AccountQuery, age_seconds_max: float) -> None:
        self._query = query
        self._age_seconds_max = age_seconds_max
        self._lock = threading.Lock()
        self._snapshot = Snapshot({})
        self._read_at = float("-inf")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="recorded")
        self._reading: Future[None] | None = None

    def snapshot(self, account_id: str) -> Snapshot:
        """Return what is recorded of an account; with many partitions, only of those that it has rows in."""
        snapshot = self.all_accounts()
        if len(snapshot.ends) + len(snapshot.closed) <= PARTITIONS_IN_CURSOR_MAX:
            return snapshot
        return snapshot.only(first_offsets(self._query, account_id).keys())

    def all_accounts(self) -> Snapshot:
        """Return what is recorded of all accounts."""
        age_seconds = self._age_seconds()
        if age_seconds >= self._age_seconds_max:
            self._read(self._age_seconds_max)
        elif age_seconds >= self._age_seconds_max / 2 and (self._reading is None or self._reading.done()):
            # What fails there is raised once somebody has to wait for it.
            self._reading = self._beside.submit(self._read, self._age_seconds_max / 2)
        return self._snapshot

    def _age_seconds(self) -> float:
        return time.monotonic() - self._read_at

    def _read(self, from_age_seconds: float) -> None:
        with self._lock:
            if self._age_seconds() < from_age_seconds:
                return  # by another one meanwhile
            started = time.monotonic()
            self._snapshot = snapshot_of(self._query.ledger_ends())
            self._read_at = started


def first_offsets(query: AccountQuery, account_id: str) -> dict[tuple[UUID, int], int]:
    """Return the partitions in which an account has rows, each with the offset of the first one.

    It looks at every row of the account. An account's events have one key and so one partition, until
    partitions are added; but producers may choose otherwise.
    """
    rows = query.rows(account_id, EventFilter(), _FIRST_OFFSETS, "GROUP BY topic_id, kafka_partition")
    return {(topic_id, partition): offset for topic_id, partition, offset in rows}


_FIRST_OFFSETS: Final = "topic_id, kafka_partition, min(kafka_offset)"
