"""What a consumer counts: every metric of a consumer process. docs/monitoring.md says what each one means.

Counting is cheap (a lock and an addition, for each batch and never for each message), does no I/O and decides
nothing, so the simulator runs the same code. Whether anybody reads the figures is for `metrics_server`.
"""

from __future__ import annotations

from collections import Counter as CountBy
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from auditlog_consumer.dead_letters import REASONS
from auditlog_consumer.judge import Rejection
from auditlog_schemas.errors import InvalidEvent
from auditlog_storage.ledger import Range

REGISTRY: Final = CollectorRegistry(auto_describe=True)
"""Of our own: what other libraries register for the whole process is not ours to publish."""

PREFIX: Final = "auditlog_consumer_"
SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
RECOVERY_SECONDS_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

STATES: Final = ("recovering", "reading", "waiting", "stopped")
STEPS: Final = ("announce", "insert", "read_back", "dead_letter", "ledger")
BEGUN: Final = ("assigned", "out_of_range", "retried")
ENDED: Final = ("revoked", "lost", "out_of_range", "failed", "stopped")
ALARM_KINDS: Final = (
    "lost",
    "committed_beyond_ledger",
    "stored_twice",
    "acknowledged_not_stored",
    "partition_stopped",
    "transaction_open",
)


def _counter(name: str, help: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, help, labels, registry=REGISTRY)


def _gauge(name: str, help: str, *labels: str) -> Gauge:
    return Gauge(PREFIX + name, help, labels, registry=REGISTRY)


def _histogram(name: str, help: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(PREFIX + name, help, labels, registry=REGISTRY, buckets=bounds)


INFO: Final = _gauge("info", "1; what this process consumes.", "topic", "consumer_group", "version")
POLLED: Final = _gauge("polled_timestamp_seconds", "When the polling thread was last seen at work.")
KAFKA_ERRORS: Final = _counter("kafka_errors_total", "Errors that polling Kafka brought and that will pass.")

TOPIC_FAULTS: Final = _gauge(
    "topic_faults", "1 for each setting of a topic by which messages may be lost.", "topic", "setting"
)

PARTITIONS: Final = _gauge("partitions", "Partitions of this process, by what they do.", "state")
EPOCHS_BEGUN: Final = _counter("epochs_begun_total", "Epochs of partitions begun, by why.", "reason")
EPOCHS_ENDED: Final = _counter("epochs_ended_total", "Epochs of partitions ended, by why.", "reason")
RECOVERY_SECONDS: Final = _histogram(
    "recovery_seconds", "From an assignment until the start is known.", RECOVERY_SECONDS_BOUNDS
)
REPLAYS: Final = _counter("replays_total", "Starts that replay what the last owner had announced.")

NEXT_OFFSET: Final = _gauge("next_offset", "The first offset that the ledger does not cover.", "partition")
LAST_BATCH: Final = _gauge(
    "last_batch_timestamp_seconds", "When the last batch was recorded in this epoch.", "partition"
)
OLDEST_HELD: Final = _gauge(
    "oldest_held_timestamp_seconds",
    "When Kafka received the oldest message that is held and not recorded.",
    "partition",
)
OPEN_TRANSACTION: Final = _gauge(
    "open_transaction_timestamp_seconds",
    "Since when a partition waits for a transaction that somebody has open.",
    "partition",
)
BATCHES: Final = _counter("batches_total", "Batches recorded in the ledger.", "partition")
OFFSETS: Final = _counter(
    "offsets_total", "Offsets recorded in the ledger, by what became of them.", "verdict", "reason"
)

STEP_SECONDS: Final = _histogram("step_seconds", "How long a step of a batch took.", SECONDS, "step")
RETRIES: Final = _counter("retries_total", "Steps that will be tried again, by what was tried.", "doing")
TOKEN_STEPS: Final = _counter(
    "token_steps_total", "Inserts tried again under the next token, by the token's step.", "step"
)
INSERTS_TOO_LATE: Final = _counter("inserts_too_late_total", "Inserts that missed their deadline.")
ALARMS: Final = _counter("alarms_total", "What should never happen, by what it is.", "kind")
LOST_OFFSETS: Final = _counter(
    "lost_offsets_total", "Offsets whose messages Kafka deleted before they were read."
)

HELD_BYTES: Final = _gauge("held_bytes", "Memory of messages that are not recorded yet, about.")
CROWDED: Final = _gauge("crowded", "1 while that memory is used up and nothing more is read.")

_OF_PARTITIONS: Final = (NEXT_OFFSET, LAST_BATCH, OLDEST_HELD)


def began(reason: str, partitions: int = 1) -> None:
    """Count epochs that begin, for a reason of `BEGUN`."""
    EPOCHS_BEGUN.labels(reason).inc(partitions)


def ended(reason: str, partitions: Iterable[int]) -> None:
    """Count epochs that end, for a reason of `ENDED`; from now on nothing is shown of their partitions."""
    for number in partitions:
        EPOCHS_ENDED.labels(reason).inc()
        for gauge in _OF_PARTITIONS:
            forget(gauge, number)


def forget(gauge: Gauge, partition: int) -> None:
    """Show nothing of a partition any more."""
    with suppress(KeyError):
        gauge.remove(str(partition))


def recorded(range: Range, rejected: Iterable[Rejection]) -> None:
    """Count a batch when its ledger row stands. Of all verdicts together there are as many as offsets."""
    BATCHES.labels(str(range.kafka_partition)).inc()
    OFFSETS.labels("accepted", "").inc(range.accepted)
    OFFSETS.labels("duplicate", "").inc(range.duplicates)
    OFFSETS.labels("absent", "").inc(range.absent)
    counts: CountBy[type[InvalidEvent]] = CountBy()
    for each in rejected:
        counts[type(each.error)] += each.offsets
    for kind, count in counts.items():
        reason = next(name for known, name in REASONS if issubclass(kind, known))
        OFFSETS.labels("rejected", reason).inc(count)


def reached(range: Range) -> None:
    """Show how far the ledger is, for a partition whose epoch lives."""
    partition = str(range.kafka_partition)
    NEXT_OFFSET.labels(partition).set(range.next_offset)
    LAST_BATCH.labels(partition).set(range.recorded_at.timestamp())


def lost(range: Range) -> None:
    """Count a range that Kafka's retention deleted before it was read."""
    ALARMS.labels("lost").inc()
    LOST_OFFSETS.inc(range.absent)


def _begin_at_zero() -> None:
    # A counter that appears with its first event has no increase that an alert could see.
    for kind in ALARM_KINDS:
        ALARMS.labels(kind)
    for reason in BEGUN:
        EPOCHS_BEGUN.labels(reason)
    for reason in ENDED:
        EPOCHS_ENDED.labels(reason)
    for step in STEPS:
        STEP_SECONDS.labels(step)
    for verdict in ("accepted", "duplicate", "absent"):
        OFFSETS.labels(verdict, "")
    for _, reason in REASONS:
        OFFSETS.labels("rejected", reason)
    for state in STATES:
        PARTITIONS.labels(state)
    for token_step in ("r1", "r2", "r3", "r4"):
        TOKEN_STEPS.labels(token_step)


_begin_at_zero()
