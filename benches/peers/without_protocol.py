"""The product's consumer with its protocol switched off, to see what the protocol costs. Not for use.

Messages are collected, judged and inserted as by `auditlog consume`. Nothing is announced or confirmed, no
copy is looked for, nothing is read back, there is no deadline and no ledger.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from auditlog_cli.__main__ import main
from auditlog_consumer.judge import Verdicts
from auditlog_consumer.partition import Epoch
from auditlog_consumer.patience import persist
from auditlog_consumer.start import Start
from auditlog_consumer.store import BatchStore
from auditlog_storage.ledger import Range


def _store(self: BatchStore, verdicts: Verdicts, epoch: Epoch, start: Start) -> Range:  # noqa: ARG001
    at, rows = verdicts.partition, verdicts.rows
    token = f"{at.topic_id}/{at.number}/{verdicts.first_offset}-{verdicts.last_offset}"
    persist(epoch, "storing", lambda: self.writer.insert(rows, token), **verdicts.where)
    self.announcer.commit(epoch, at.number, verdicts.last_offset + 1)
    return Range(
        topic=at.topic,
        topic_id=at.topic_id,
        kafka_partition=at.number,
        first_offset=verdicts.first_offset,
        last_offset=verdicts.last_offset,
        accepted=rows.num_rows,
        rejected=len(verdicts.rejected),
        duplicates=0,
        absent=verdicts.absent,
        consumer_group=self.settings.group,
        recorded_at=datetime.now(UTC),
    )


if __name__ == "__main__":
    BatchStore.store = _store  # type: ignore[method-assign]
    sys.argv = ["auditlog", "consume", "--log-json"]
    main()
