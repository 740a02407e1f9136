"""What the consumer counts, how it is shown, and that docs/monitoring.md names the same metrics."""

from __future__ import annotations

import re
import socket
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from auditlog_consumer import metrics
from auditlog_consumer.gauges import Gauges
from auditlog_consumer.judge import Rejection
from auditlog_consumer.metrics_server import LagCollector, serving_metrics
from auditlog_consumer.runtime import Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, DecodeError, FieldLimitExceeded
from auditlog_storage.ledger import Range

MONITORING = (Path(__file__).parents[2] / "docs/monitoring.md").read_text("utf-8")
NOBODY = ConsumerSettings(kafka="127.0.0.1:1")


@pytest.fixture(autouse=True)
def _no_partitions() -> Iterator[None]:
    """Other tests may have left partitions in the process's registry."""
    for gauge in (metrics.NEXT_OFFSET, metrics.LAST_BATCH, metrics.OLDEST_HELD):
        gauge.clear()
    yield
    for gauge in (metrics.NEXT_OFFSET, metrics.LAST_BATCH, metrics.OLDEST_HELD):
        gauge.clear()


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(metrics.PREFIX + name, labels)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading or line of docs/monitoring.md, without its head."""
    lines = MONITORING.split(heading, 1)[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def families() -> list[Metric]:
    lag = LagCollector(lambda _: {})
    return [*metrics.REGISTRY.collect(), *lag.describe()]


def exported(family: Metric) -> str:
    """The name as it is scraped: prometheus_client keeps a counter's suffix apart."""
    return family.name + ("_total" if family.type == "counter" else "")


def labels_of(name: str) -> list[str]:
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            [family] = metric.describe()
            if exported(family) == name:
                return list(metric._labelnames)
    return ["partition"] if name.endswith(("end_offset", "lag_offsets")) else []


def test_the_document_and_the_code_name_the_same_metrics() -> None:
    documented = {
        metrics.PREFIX + quoted(row[0])[0]: (row[1], quoted(row[2])) for row in table("## The metrics")
    }
    found = {exported(family): (family.type, labels_of(exported(family))) for family in families()}
    assert documented == found


def test_the_document_names_every_value_of_the_labels() -> None:
    meanings = {quoted(row[0])[0]: quoted(row[3]) for row in table("## The metrics")}
    assert set(metrics.STATES) <= set(meanings["partitions"])
    assert set(metrics.BEGUN) <= set(meanings["epochs_begun_total"])
    assert set(metrics.ENDED) <= set(meanings["epochs_ended_total"])
    assert set(metrics.STEPS) <= set(meanings["step_seconds"])
    assert {"accepted", "duplicate", "absent", "rejected"} <= set(meanings["offsets_total"])
    assert {quoted(row[0])[0] for row in table("Kinds of alarms")} == set(metrics.ALARM_KINDS)


def test_each_alarm_leads_to_a_section_of_the_runbook() -> None:
    operations = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    headings = set(re.findall(r"^## (.*)$", operations, re.MULTILINE))
    assert {row[2] for row in table("Kinds of alarms")} <= headings


def test_the_alerts_are_about_metrics_that_exist() -> None:
    # The consumer's; those of the API have a test of their own.
    [rules] = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", MONITORING, re.DOTALL)
        if "auditlog_consumer" in block
    ]
    expressions = [rule["expr"] for rule in yaml.safe_load(rules)["groups"][0]["rules"]]
    names = set(re.findall(r"auditlog_consumer_\w+", " ".join(expressions)))
    assert len(names) >= 8
    assert names <= {exported(family) for family in families()}


def a_range(partition: int, rejected: int = 0, duplicates: int = 0, absent: int = 0) -> Range:
    return Range(
        topic="events",
        topic_id=uuid.UUID(int=1),
        kafka_partition=partition,
        first_offset=100,
        last_offset=104 + rejected + duplicates + absent,
        accepted=5,
        rejected=rejected,
        duplicates=duplicates,
        absent=absent,
        consumer_group="auditlog",
        recorded_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_a_batch_is_counted_by_verdict() -> None:
    def counted() -> list[float]:
        by = [("accepted", ""), ("duplicate", ""), ("absent", "")]
        by += [("rejected", "undecodable"), ("rejected", "limit_exceeded")]
        return [value("offsets_total", verdict=verdict, reason=reason) or 0 for verdict, reason in by]

    before, batches = counted(), value("batches_total", partition="77") or 0
    errors = [
        DecodeError("empty", "", "x"),
        DecodeError("trailing", "", "x"),
        FieldLimitExceeded("a", "b", "c"),
    ]
    rejected = [Rejection(offset, 0, None, None, error) for offset, error in enumerate(errors)]
    metrics.recorded(a_range(77, rejected=3, duplicates=4, absent=2), rejected)
    assert [now - then for then, now in zip(before, counted(), strict=True)] == [5, 4, 2, 2, 1]
    assert value("batches_total", partition="77") == batches + 1


def test_nothing_is_shown_of_a_partition_whose_epoch_ended() -> None:
    metrics.reached(a_range(78))
    assert value("next_offset", partition="78") == 105
    assert (
        value("last_batch_timestamp_seconds", partition="78") == datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    )
    before = value("epochs_ended_total", reason="revoked") or 0
    metrics.ended("revoked", [78, 79])
    assert value("next_offset", partition="78") is None
    assert value("epochs_ended_total", reason="revoked") == before + 2


@dataclass
class Holding:
    state: str
    held_bytes: int
    oldest_received_millis: int | None


class Clock(Threads):
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


def test_gauges_are_shown_once_a_second() -> None:
    clock = Clock()
    gauges = Gauges(clock)
    assigned = {
        0: Holding("reading", 10, 5_000),
        1: Holding("waiting", 20, None),
        2: Holding("reading", 0, None),
    }
    gauges.show(assigned, True)
    assert [value("partitions", state=state) for state in metrics.STATES] == [0, 2, 1, 0]
    assert (value("held_bytes"), value("crowded")) == (30, 1)
    assert value("oldest_held_timestamp_seconds", partition="0") == 5
    assert value("oldest_held_timestamp_seconds", partition="1") is None
    assert value("polled_timestamp_seconds") == clock.now().timestamp()
    assigned[0] = Holding("recovering", 0, None)
    clock.seconds += 0.9
    gauges.show(assigned, False)
    assert value("held_bytes") == 30
    clock.seconds += 0.2
    gauges.show(assigned, False)
    assert (value("held_bytes"), value("crowded")) == (20, 0)
    assert value("oldest_held_timestamp_seconds", partition="0") is None


def test_lag_is_asked_for_seldom_and_stands_still_while_kafka_is_away() -> None:
    seconds, asked, away = [0.0], list[set[int]](), [False]

    def ends(partitions: Collection[int]) -> Mapping[int, int]:
        asked.append(set(partitions))
        if away[0]:
            raise BrokerUnavailable("away")
        return {number: 1_000 + int(seconds[0]) for number in partitions}

    collector = LagCollector(ends, lambda: seconds[0], lambda: 50_000 + seconds[0])

    def lags() -> tuple[dict[str, float], list[float]]:
        _, lag, timestamp = collector.collect()
        shown = {sample.labels["partition"]: sample.value for sample in lag.samples}
        return shown, [sample.value for sample in timestamp.samples]

    assert lags() == ({}, [50_000])
    metrics.NEXT_OFFSET.labels("0").set(990)
    assert lags() == ({"0": 10}, [50_000])
    seconds[0] = 4
    metrics.NEXT_OFFSET.labels("0").set(995)
    assert lags() == ({"0": 5}, [50_000])
    assert asked == [set(), {0}]
    seconds[0] = 6
    assert lags() == ({"0": 11}, [50_006])
    away[0] = True
    seconds[0] = 20
    assert lags() == ({"0": 11}, [50_006])
    seconds[0] = 22
    assert lags() == ({"0": 11}, [50_006])
    assert len(asked) == 4
    away[0] = False
    metrics.NEXT_OFFSET.labels("1").set(2_000)
    assert lags() == ({"0": 27, "1": 0}, [50_022])


def scrape(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_metrics_are_served_while_inside_and_on_loopback_only() -> None:
    with serving_metrics(NOBODY, "127.0.0.1", 0) as port:
        text = scrape(port)
        assert "auditlog_consumer_crowded" in text
        assert "process_resident_memory_bytes" in text
        assert 'auditlog_consumer_info{consumer_group="auditlog",topic="audit.events"' in text
        assert "_created" not in text
        assert "python_info" not in text
        with (
            pytest.raises(ConfigError, match="AUDITLOG_METRICS_PORT"),
            serving_metrics(NOBODY, "127.0.0.1", port),
        ):
            pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)
    with serving_metrics(NOBODY, "localhost", 0) as port:
        assert scrape(port)


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="AUDITLOG_METRICS_HOST"), serving_metrics(NOBODY, "203.0.113.1", 9):
        pass
