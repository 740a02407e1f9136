"""A consumer on a topic and a database of its own, run in a thread, for integration tests."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.check import Report, check
from auditlog_consumer.dead_letter_log import DeadLetter, DeadLetterLog
from auditlog_consumer.lag import lag
from auditlog_consumer.service import consume
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import encode
from auditlog_schemas.event import AuditEvent
from auditlog_storage.connection import Connection
from auditlog_storage.keys import Keys
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings


class Pipeline:
    """Settings, topics and tables of one test; `running` runs a consumer on them."""

    def __init__(self, kafka: str, clickhouse_url: str, **settings: Any) -> None:
        self._failures: list[BaseException] = []
        self._is_checked = True
        self.topic = f"events-{uuid.uuid4().hex[:10]}"
        given = {"flush_interval_seconds": 0.2, "session_timeout_seconds": 45.0} | settings
        self.settings = ConsumerSettings.load(kafka=kafka, topic=self.topic, group=self.topic, **given)
        self.clickhouse_url = clickhouse_url
        self.connection = Connection(StorageSettings.load(url=clickhouse_url))
        migrate(self.connection, load_catalog())
        Topics(kafka, self.settings.kafka_config).ensure(self.topic, self.settings.dead_topic)

    def own_key(self) -> bytes:
        """Return the key of the audit log's own events."""
        return Keys(self.connection).read("own_events")

    def publish(self, events: Sequence[AuditEvent]) -> None:
        self.publish_raw([(event.account_id.encode(), encode(event.to_record())) for event in events])

    def publish_raw(self, messages: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        writer = AcknowledgedWriter(self.settings.kafka, self.settings.kafka_config)
        writer.write(self.topic, [Outgoing(key, value) for key, value in messages])
        writer.close()

    @contextmanager
    def running(self, connection: Connection | None = None) -> Iterator[threading.Event]:
        """Run a consumer, maybe with another connection; leaving stops it, and raises what it raised."""
        stop, failures = threading.Event(), self._failures

        def run() -> None:
            try:
                consume(self.settings, connection or self.connection, stop)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(120)
        assert not thread.is_alive(), "the consumer did not stop"
        self.raise_failure()
        self._is_checked = False

    def wait_until_caught_up(self, seconds_max: float = 180) -> None:
        deadline = time.monotonic() + seconds_max
        while (behind := sum(at.lag for at in lag(self.settings, self.connection))) > 0:
            self.raise_failure()
            assert time.monotonic() < deadline, f"still {behind} messages behind after {seconds_max} s"
            time.sleep(0.1)

    def lagging(self) -> set[int]:
        """Return the partitions of which something is not recorded yet."""
        return {at.partition for at in lag(self.settings, self.connection) if at.lag}

    def raise_failure(self) -> None:
        """Raise what a consumer's thread raised."""
        if self._failures:
            raise self._failures.pop()

    def report(self) -> Report:
        """Check, whatever it finds."""
        self._is_checked = True
        return check(self.connection, self.settings)

    def check(self) -> Report:
        """Check, and require that there is no error."""
        report = self.report()
        assert report.ok, report.findings
        assert report.absent == 0, "messages were taken for offsets without one"
        return report

    def dead_letters(self) -> list[DeadLetter]:
        return list(DeadLetterLog(self.settings).read())

    def stored_ids(self) -> list[uuid.UUID]:
        """Return the ids of all stored events, once for each row."""
        return [row[0] for row in self.connection.query_rows("SELECT event_id FROM audit_events")]

    def close(self) -> None:
        """Check what the last consumer left, unless the test did; losses that a test arranged are its own."""
        if not self._is_checked:
            errors = [found for found in self.report().findings if found.severity == "error"]
            assert all(found.kind == "lost" for found in errors), errors
        self.connection.close()
