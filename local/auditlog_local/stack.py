"""The whole local stack: Kafka, ClickHouse and whatever processes are added, over one data directory."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from auditlog_local.child import ChildSpec
from auditlog_local.clickhouse_child import answers_ping, clickhouse_child, origin
from auditlog_local.data_dir_lock import DataDirLock
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.kafka_broker import broker_answers
from auditlog_local.ports import remembered_port
from auditlog_local.supervisor import ChildEvent, Supervisor
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, StorageUnavailable

DATABASE = "auditlog"
# Together below 10 s: consumers, then ClickHouse, then Kafka (which a crash does not harm). Whoever adds a
# child that has work to finish tells it to be done within CHILD_STOP_SECONDS.
CHILD_STOP_SECONDS = 4.0
CLICKHOUSE_STOP_SECONDS = 3.0
KAFKA_STOP_SECONDS = 2.0
_LOCK_NAME = "stack.lock"
_STATE_NAME = "stack.json"


@dataclass(frozen=True)
class Addresses:
    """Where a running stack answers."""

    kafka: str
    clickhouse_url: str
    pid: int


class Stack:
    """The stack of one data directory; use it as a context manager or call `start` and `stop`.

    Args:
        data_dir: holds `kafka/`, `clickhouse/`, `logs/`, `stack.lock` and, while it runs, `stack.json`.
        kafka: bootstrap servers of a Kafka that runs elsewhere; None starts one here.
        clickhouse_url: URL of a ClickHouse that runs elsewhere; None starts one here.
        extra_children: started after those, in this order.
        on_event: told what happens to the children, see `Supervisor`.
        cache_dir: where Kafka's jars are kept; None for `cache_directory()`.

    After `start`, ``kafka`` and ``clickhouse_url`` say where they answer.
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
        self._supervisor = Supervisor(self.data_dir / "logs", self._on_event)

    def start(self) -> None:
        """Start what is missing and return when everything is ready (about 5 s when installed).

        Raises:
            ConfigError: the data directory cannot be written, or another stack runs on it (names its pid).
            BrokerUnavailable, StorageUnavailable: an address that was given does not answer.
            ChildFailed: a process did not come up; the message ends with its last log lines.
        """
        self._lock = DataDirLock(self.data_dir, _LOCK_NAME)
        try:
            (self.data_dir / _STATE_NAME).unlink(missing_ok=True)
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
        self._write_state()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for SIGINT or SIGTERM (in the main thread) or for `stop`; False when the time is over first.

        Raises:
            ChildFailed: a process crashed too often to be started again.
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
        self._started = False
        self._supervisor.stop()
        with suppress(OSError):
            (self.data_dir / _STATE_NAME).unlink(missing_ok=True)
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
        if event.event in ("restarting", "gave_up") and self._started:
            with suppress(ConfigError):
                self._write_state()
        if self._user_on_event is not None:
            self._user_on_event(event)

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "kafka": self.kafka,
            "clickhouse_url": self.clickhouse_url,
            "children": self._supervisor.pids,
        }
        fresh = self.data_dir / f"{_STATE_NAME}.new"
        try:
            fresh.write_text(json.dumps(state, indent=1) + "\n")
            fresh.replace(self.data_dir / _STATE_NAME)
        except OSError as error:
            raise ConfigError(
                f"the data directory {self.data_dir} cannot be written: {error.strerror}"
            ) from error


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


def find_running(data_dir: Path) -> Addresses | None:
    """The stack that runs on this data directory now; None when there is none, or it does not answer."""
    try:
        state = json.loads((data_dir / _STATE_NAME).read_text())
        found = Addresses(str(state["kafka"]), str(state["clickhouse_url"]), int(state["pid"]))
        with (data_dir / _LOCK_NAME).open("rb") as lock:
            # Whoever holds the lock is the stack; a lock that can be had means that its file was left behind.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        alive = broker_answers(found.kafka) and answers_ping(origin(found.clickhouse_url))
        return found if alive else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
