"""Following a log that several consumers write to at once: every event comes once, in storing order."""

from __future__ import annotations

from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog_storage import tail
from auditlog_storage.filters import EventFilter
from auditlog_storage.tail import LogTail, TailPosition
from storage.event_log import Log

ALL = EventFilter()


@pytest.mark.integration
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans(), st.booleans()), min_size=1, max_size=8
    ),
    st.integers(1, 5),
)
def test_every_event_comes_once_whoever_stores_when(
    shared_log: Log, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[int, int, bool, bool]], limit: int
) -> None:
    """Batches of three partitions, stored first and recorded later, and a reader that looks in between."""
    monkeypatch.setattr(tail, "ENDS_KEPT_SECONDS", 0.0)
    log = Log(shared_log.connection, shared_log.catalog)
    follower = LogTail(log.connection)
    account = f"acc_{uuid4().hex}"
    position = follower.after(account, ALL, None, limit).position
    offsets = {0: 0, 1: 0, 2: 0}
    unrecorded: dict[int, list[pa.RecordBatch]] = {0: [], 1: [], 2: []}
    expected: dict[int, list[str]] = {0: [], 1: [], 2: []}
    seen: list[tuple[int, str]] = []

    def look(position: TailPosition) -> TailPosition:
        while True:
            found = follower.after(account, ALL, position, limit)
            seen.extend((each.kafka_partition, str(each.event.event_id)) for each, _ in found.events)
            position = follower.opened(account, found.text)
            if not found.more:
                return position

    for partition, count, foreign, looks in steps:
        owner = account if not foreign else account + "x"
        events = [log.event(account_id=owner) for _ in range(count)]
        rows = log.batch(events, partition, offsets[partition])
        offsets[partition] += count + 1
        log.writer.insert(rows, uuid4().hex)
        unrecorded[partition].append(rows)
        if not foreign:
            expected[partition] += [str(event.event_id) for event in events]
        if looks:
            before = len(seen)
            position = look(position)
            assert len(seen) == before, "nothing shows before it is recorded"
            for stored in unrecorded.values():
                for batch in stored:
                    log.record(batch)
                stored.clear()
            position = look(position)
    for stored in unrecorded.values():
        for batch in stored:
            log.record(batch)
    look(position)
    for partition, ids in expected.items():
        assert [id for where, id in seen if where == partition] == ids
