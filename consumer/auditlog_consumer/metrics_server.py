"""Serving the metrics over HTTP, with the lag, which is looked up when somebody reads it."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from importlib.metadata import version
from typing import Final

import prometheus_client
from prometheus_client import MetricsHandler, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from auditlog_consumer import metrics
from auditlog_consumer.log_ends import LogEnds
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import AuditError, ConfigError

ENDS_KEPT_SECONDS: Final = 5.0
ENDS_ANSWER_SECONDS_MAX: Final = 2.0
CLIENT_SECONDS_MAX: Final = 10.0

Ends = Callable[[Collection[int]], Mapping[int, int]]
"""Returns where the log of each of these partitions ends; raises AuditError."""


class LagCollector(Collector):
    """How far the ledger is behind Kafka, of the partitions that this process has and has started.

    Asked by the thread that serves a reader, never by the one that polls Kafka; at most once in
    `ENDS_KEPT_SECONDS`, however many read. While Kafka does not answer, the last ends known are shown and
    their time stands still.

    Args:
        ends: asks Kafka.
        monotonic, now: clocks; seconds since any moment, and since 1970 UTC.
    """

    def __init__(
        self,
        ends: Ends,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ask = ends
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._asked_seconds = float("-inf")
        self._asked: frozenset[int] = frozenset()
        self._ends: dict[int, int] = {}
        self._ends_timestamp = 0.0

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the metrics without samples, so that registering it asks nobody."""
        return list(self._families())

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the metrics; takes `ENDS_ANSWER_SECONDS_MAX` and a little when Kafka is away."""
        next_offsets = _next_offsets()
        with self._lock:
            self._look(frozenset(next_offsets))
            known = dict(self._ends)
            timestamp = self._ends_timestamp
        end_offset, lag, ends_timestamp = self._families()
        for number in sorted(next_offsets.keys() & known.keys()):
            end_offset.add_metric([str(number)], known[number])
            lag.add_metric([str(number)], max(known[number] - next_offsets[number], 0))
        if timestamp:
            ends_timestamp.add_metric([], timestamp)
        return [end_offset, lag, ends_timestamp]

    def _look(self, partitions: frozenset[int]) -> None:
        seconds = self._monotonic()
        if seconds - self._asked_seconds < ENDS_KEPT_SECONDS and partitions <= self._asked:
            return
        try:
            ends = self._ask(partitions)
        except AuditError:
            pass
        else:
            self._ends = dict(ends)
            self._ends_timestamp = self._now()
        self._asked_seconds, self._asked = self._monotonic(), partitions

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                f"{metrics.PREFIX}end_offset",
                "The offset after Kafka's last one, as far as is known.",
                labels=["partition"],
            ),
            GaugeMetricFamily(
                f"{metrics.PREFIX}lag_offsets",
                "Offsets that the ledger does not cover yet.",
                labels=["partition"],
            ),
            GaugeMetricFamily(
                f"{metrics.PREFIX}ends_timestamp_seconds", "When Kafka last told its ends.", labels=[]
            ),
        )


def _next_offsets() -> dict[int, int]:
    [family] = metrics.NEXT_OFFSET.collect()
    return {int(sample.labels["partition"]): int(sample.value) for sample in family.samples}


class _Handler(MetricsHandler):
    registry = metrics.REGISTRY
    timeout = CLIENT_SECONDS_MAX


class _Server(ThreadingHTTPServer):
    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the DNS for a name that nobody needs.
        socketserver.TCPServer.server_bind(self)
        self.server_port = self.socket.getsockname()[1]


@contextmanager
def serving_metrics(settings: ConsumerSettings, host: str, port: int) -> Iterator[int]:
    """Serve the metrics of this process at ``http://host:port/metrics`` while inside; yield the port.

    Args:
        settings: of the consumer that runs in this process.
        host: the address to listen on; whoever reaches it can read the metrics.
        port: 0 for any free one.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    ends = LogEnds(settings.kafka, settings.kafka_config, ENDS_ANSWER_SECONDS_MAX)
    collectors = [LagCollector(partial(ends.highs, settings.topic)), ProcessCollector(registry=None)]
    server = _listen(host, port)
    metrics.INFO.labels(settings.topic, settings.group, version("auditlog")).set(1)
    for collector in collectors:
        metrics.REGISTRY.register(collector)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        for collector in collectors:
            metrics.REGISTRY.unregister(collector)


def _listen(host: str, port: int) -> _Server:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, (str(address[0]), port))
    except OSError as error:
        raise ConfigError(
            f"AUDITLOG_METRICS_HOST, AUDITLOG_METRICS_PORT: metrics cannot be served at {host}:{port}: "
            f"{error.strerror or error}"
        ) from error
