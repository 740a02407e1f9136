"""Transactions that publishers leave open: what is behind the first offset of one cannot be read yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.partition import Partition
from auditlog_consumer.runtime import Runtime

OPEN_SECONDS_MAX: Final = 60.0
"""Producers' own default, after which the broker ends a transaction whose producer is gone."""

_log = structlog.get_logger("auditlog.consumer")


@dataclass(slots=True)
class _Open:
    partition: Partition
    first_offset: int
    since: datetime
    since_seconds: float
    is_told: bool = False


class OpenTransactions:
    """Knows which partitions wait for a transaction, and says so when one stays open. For one thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._open: dict[int, _Open] = {}

    def note(self, partition: Partition, first_offset: int | None) -> None:
        """Note that a partition was read up to an open transaction that begins here, or waits for none."""
        known = self._open.get(partition.number)
        if known is not None and known.first_offset == first_offset:
            return
        self.forget([partition.number])
        if first_offset is not None:
            now = self._runtime.now()
            self._open[partition.number] = _Open(partition, first_offset, now, self._runtime.monotonic())
            metrics.OPEN_TRANSACTION.labels(str(partition.number)).set(now.timestamp())

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget partitions, whose transactions have ended or which are read no longer."""
        for number in numbers:
            if (known := self._open.pop(number, None)) is None:
                continue
            metrics.forget(metrics.OPEN_TRANSACTION, number)
            if known.is_told:
                _log.info("no transaction holds the partition any more", partition=str(known.partition))

    def tell(self) -> None:
        """Raise an alarm, once, for each transaction that has been open for `OPEN_SECONDS_MAX`."""
        for each in self._open.values():
            if each.is_told or self._runtime.monotonic() - each.since_seconds < OPEN_SECONDS_MAX:
                continue
            each.is_told = True
            metrics.ALARMS.labels("transaction_open").inc()
            _log.error(
                "a transaction stays open, and nothing behind it can be read; "
                "see docs/operations.md, 'a transaction left open'",
                partition=str(each.partition),
                first_offset=each.first_offset,
                since=each.since.isoformat(timespec="seconds"),
            )
