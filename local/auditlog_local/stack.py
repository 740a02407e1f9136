"""The whole local stack: Kafka, ClickHouse and whatever processes are added, over one data directory."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

from auditlog_local.child import ChildFailed, ChildSpec
from auditlog_local.clickhouse_child import answers_ping, clickhouse_child, origin
from auditlog_local.data_dir_lock import DataDirLock
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.kafka_broker import broker_answers
from auditlog_local.ports import remembered_port
from auditlog_local.running_stack import LOCK_NAME, RunningStack, forget_running, write_running
from auditlog_local.supervisor import ChildEvent, KeptDown, Supervisor
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, StorageUnavailable

DATABASE = "auditlog"
# Together below 10 s: consumers, then ClickHouse, then Kafka (which a crash does not harm). Whoever adds a
# child that has work to finish tells it to be done within CHILD_STOP_SECONDS.
CHILD_STOP_SECONDS = 4.0
CLICKHOUSE_STOP_SECONDS = 3.0
KAFKA_STOP_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Stack:
    """The stack of one data directory; use it as a context manager or call `start` and `stop`.

    Args:
        data_dir: holds `kafka/`, `clickhouse/`, `logs/`, `stack.lock` and, while it runs, `stack.json`.
        kafka: bootstrap servers of a Kafka that runs elsewhere; None starts one here.
        clickhouse_url: URL of a ClickHouse that runs elsewhere; None starts one here.
        extra_children: started after those, in this order.
        on_event: told what happens to the children, see `Supervisor`.
        cache_dir: where Kafka's jars are kept; None for `cache_directory()`.

    After `start`, ``kafka`` and ``clickhouse_url`` say where they answer. A child that crashes again and
    again, a server too, is kept down and tried again rarely; the others run on.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        kafka: str | None = None,
        clickhouse_url: str | None = None,
        extra_children: Sequence[ChildSpec] = (),
        on_event: Callable[[ChildEvent], None] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.kafka = kafka or ""
        self.clickhouse_url = clickhouse_url or ""
        self._runs_kafka = not kafka
        self._runs_clickhouse = not clickhouse_url
        self._extra_children = extra_children
        self._cache_dir = cache_dir
        self._user_on_event = on_event
        self._lock: DataDirLock | None = None
        self._started = False
        self._state_lock = threading.Lock()
        self._supervisor = Supervisor(self.data_dir / "logs", self._on_event)

    def start(self) -> None:
        """Start what is missing and return when everything is ready (about 5 s when installed).

        Raises:
            ConfigError: the data directory cannot be written, or another stack runs on it (names its pid).
            BrokerUnavailable, StorageUnavailable: an address that was given does not answer.
            ChildFailed: a process did not come up; the message ends with its last log lines.
        """
        self._lock = DataDirLock(self.data_dir, LOCK_NAME)
        try:
            forget_running(self.data_dir)
            self._start_kafka()
            self._start_clickhouse()
            for spec in self._extra_children:
                self._supervisor.start(spec)
            self._started = True
            self._write_state()
        except BaseException:
            self.stop()
            raise

    def _start_kafka(self) -> None:
        if not self._runs_kafka:
            if not broker_answers(self.kafka):
                raise BrokerUnavailable(
                    f"no Kafka broker answers at {self.kafka}: start it, or unset AUDITLOG_KAFKA"
                )
            return
        directory = self.data_dir / "kafka"
        node = remembered_node(directory)
        self._supervisor.start(kafka_child(directory, node, self._cache_dir, KAFKA_STOP_SECONDS))
        self.kafka = node.bootstrap

    def _start_clickhouse(self) -> None:
        if not self._runs_clickhouse:
            if not answers_ping(origin(self.clickhouse_url)):
                raise StorageUnavailable(
                    f"no ClickHouse answers at {origin(self.clickhouse_url)}: "
                    "start it, or unset AUDITLOG_CLICKHOUSE_URL"
                )
            return
        directory = self.data_dir / "clickhouse"
        port = remembered_port(directory / "port")
        self._supervisor.start(clickhouse_child(directory, port, CLICKHOUSE_STOP_SECONDS))
        self.clickhouse_url = f"http://default:@127.0.0.1:{port}/{DATABASE}"

    def add_child(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """Start one more process, for example a consumer, and return when it is ready.

        It is stopped before the servers are; several named `stem-1`, `stem-2`, ... are stopped together.

        Raises:
            ChildFailed: it did not come up.
        """
        always: Callable[[], bool] = lambda: True  # noqa: E731
        spec = ChildSpec(
            name, tuple(argv), dict(env or {}), ready or always, stop_timeout_seconds=CHILD_STOP_SECONDS
        )
        self._supervisor.start(spec)

    @property
    def kept_down(self) -> tuple[KeptDown, ...]:
        """The children that crashed again and again."""
        return self._supervisor.kept_down

    def require_all(self) -> None:
        """Do nothing while no child is kept down; for those who cannot go on without one.

        Raises:
            ChildFailed: a child is kept down.
        """
        for down in self.kept_down:
            raise ChildFailed(f"{down.name} {down.reason}; its log, {down.log}, ends with:\n{down.last_line}")

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for SIGINT or SIGTERM (in the main thread) or for `stop`.

        Returns:
            False when the time is over first.
        """
        asked = threading.Event()
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with _stop_signals(asked):
            while not asked.is_set():
                left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
                if left <= 0:
                    return False
                if self._supervisor.wait(left):
                    return True
        return True

    def stop(self) -> None:
        """Stop everything that was started here, within 10 s; harmless when done twice."""
        with self._state_lock:
            self._started = False
        if self._lock is not None:
            # First: who looks for a stack from now on should not find one that ends.
            with suppress(OSError):
                forget_running(self.data_dir)
        self._supervisor.stop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _on_event(self, event: ChildEvent) -> None:
        try:
            self._write_state()
        except ConfigError as error:
            # No reason not to tell the event itself, which may say why.
            _log.warning("%s %s is not noted: %s", event.name, event.event, error)
        if self._user_on_event is not None:
            self._user_on_event(event)

    def _write_state(self) -> None:
        with self._state_lock:
            if self._started:
                write_running(self.data_dir, self._running(), self._supervisor.pids)

    def _running(self) -> RunningStack:
        return RunningStack(self.kafka, self.clickhouse_url, os.getpid(), self._supervisor.kept_down)


@contextmanager
def _stop_signals(asked: threading.Event) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM set ``asked``; outside the main thread they are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
