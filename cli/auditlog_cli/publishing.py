"""Publishing event lines: every good one goes, every bad one is reported, and the numbers add up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

from auditlog_cli.event_lines import EventLine, read_event_lines
from auditlog_schemas.errors import AuditError, InvalidEvent

if TYPE_CHECKING:
    from auditlog_producers import AuditProducer, PublishHandle
    from auditlog_schemas.catalog import Catalog
    from auditlog_schemas.event import AuditEvent

FLUSH_SECONDS_MAX: Final = 60.0

Report: TypeAlias = Callable[[int, AuditError], None]


@dataclass(slots=True)
class Outcome:
    """What became of the lines.

    Attributes:
        good: events that are valid (a check) or that Kafka has acknowledged (a publication).
        bad: lines that break a rule; each was reported.
        undelivered: valid events that Kafka did not acknowledge; each was reported.
        stopped_at: the line at which publishing was given up because Kafka takes no more.
        reason: why the last event was not delivered or publishing stopped.
    """

    good: int = 0
    bad: int = 0
    undelivered: int = 0
    stopped_at: int | None = None
    reason: AuditError | None = None


def check_lines(stream: BinaryIO, catalog: Catalog, report: Report) -> Outcome:
    """Validate every line as the producer would."""
    from auditlog_producers.checked_event import checked_record, encoded

    outcome = Outcome()
    for line in read_event_lines(stream):
        try:
            event = _event(line)
            encoded(event, checked_record(event, catalog), None)
            outcome.good += 1
        except InvalidEvent as problem:
            outcome.bad += 1
            report(line.number, problem)
    return outcome


class LinePublisher:
    """Publishes lines through a producer and follows each of them to its end."""

    def __init__(self, producer: AuditProducer, report: Report, progress: Callable[[int], None]) -> None:
        self._producer = producer
        self._report = report
        self._progress = progress
        self._pending: deque[tuple[int, PublishHandle]] = deque()
        self._outcome = Outcome()

    def publish(self, stream: BinaryIO) -> Outcome:
        """Publish every good line; return when Kafka has answered for all of them."""
        for line in read_event_lines(stream):
            try:
                self._send(line)
            except InvalidEvent as problem:
                self._outcome.bad += 1
                self._report(line.number, problem)
            except AuditError as error:
                self._outcome.stopped_at, self._outcome.reason = line.number, error
                break
            self._settle(wait=False)
        self._producer.flush(FLUSH_SECONDS_MAX)
        self._settle(wait=True)
        return self._outcome

    def _send(self, line: EventLine) -> None:
        event = _event(line)
        send = self._producer.forward if line.has_source else self._producer.publish
        self._pending.append((line.number, send(event)))

    def _settle(self, wait: bool) -> None:
        """Take the outcomes that are known, in the order of the lines."""
        while self._pending and (wait or self._pending[0][1].done()):
            number, handle = self._pending.popleft()
            try:
                handle.result(timeout_seconds=0.0)
                self._outcome.good += 1
            except AuditError as error:
                self._outcome.undelivered += 1
                self._outcome.reason = error
                self._report(number, error)
        self._progress(self._outcome.good)


def _event(line: EventLine) -> AuditEvent:
    if line.problem is not None:
        raise line.problem
    assert line.event is not None
    return line.event
