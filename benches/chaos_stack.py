"""The processes of the chaos bench: broker, engine behind the proxy, consumers; faults hit each of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from chaos_faults import BROKER, CONSUMERS, ENGINE, EXTRA_CONSUMER, SESSION_SECONDS
from checked import run_check
from fault_proxy import FaultProxy
from process_tree import command_pids
from servers import Servers

from auditlog_local.child import Child, ChildSpec
from auditlog_storage.connection import Connection

REQUEST_SECONDS_MAX: Final = 10
# Of a partition that moves, each owner cuts other batches than the one before.
BATCHING: Final = {
    name: {"AUDITLOG_FLUSH_INTERVAL_SECONDS": seconds, "AUDITLOG_BATCH_ROWS_MAX": rows}
    for name, seconds, rows in zip(
        (*CONSUMERS, EXTRA_CONSUMER),
        ("0.1", "0.3", "1.0", "0.2"),
        ("300", "2000", "100000", "1000"),
        strict=True,
    )
}
STOP_SECONDS_MAX: Final = 20.0
EXITS_MAX: Final = 30
_LOOK_SECONDS: Final = 1.0


class ChaosStack:
    """Broker and engine run already; `start` adds the proxy and three consumers.

    A process that ends although no fault ended it is started again, and noted; after `EXITS_MAX` of these
    nothing is started any more.

    Attributes:
        exits: what ended by itself, with the end of its log.
        restarts: how often each process was started again, whatever the reason.
    """

    def __init__(self, servers: Servers, connection: Connection, topic: str) -> None:
        self.servers = servers
        self.topic = topic
        self.exits: list[str] = []
        self.restarts: Counter[str] = Counter()
        address = urlsplit(connection.settings.url.get_secret_value())
        assert address.port is not None
        self.proxy = FaultProxy(address.port, (*CONSUMERS, EXTRA_CONSUMER))
        self.proxy.start()
        self._direct_url = connection.settings.url.get_secret_value()
        self._database_path = address.path
        self._children = {ENGINE: servers.clickhouse, BROKER: servers.kafka} | {
            name: Child(self._consumer(name), servers.directory) for name in (*CONSUMERS, EXTRA_CONSUMER)
        }
        self._lock = threading.Lock()
        self._wanted: set[str] = {ENGINE, BROKER}
        self._excused: Counter[str] = Counter()
        self._ending = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="guard", daemon=True)

    @property
    def given_up(self) -> bool:
        """Tell whether processes ended by themselves so often that the run makes no sense."""
        return len(self.exits) > EXITS_MAX

    def start(self) -> None:
        """Start the consumers, and keep everything running."""
        for name in CONSUMERS:
            self.want(name)
        self._guard.start()

    def want(self, name: str) -> None:
        """Start a process and keep it running."""
        child = self._children[name]
        child.start()
        with self._lock:
            self._wanted.add(name)

    @contextmanager
    def without(self, name: str) -> Iterator[Child]:
        """Give a process away to be ended; it is started again afterwards."""
        with self._lock:
            self._wanted.discard(name)
        try:
            yield self._children[name]
        finally:
            if not self._ending.is_set():
                self.restarts[name] += 1
                self.want(name)

    def release(self, name: str) -> None:
        """End a process in good order, for good."""
        with self._lock:
            self._wanted.discard(name)
        self._children[name].stop(STOP_SECONDS_MAX)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Stop a process with SIGSTOP; continue it afterwards."""
        pids = command_pids(self._children[name])
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    @contextmanager
    def excused(self, name: str) -> Iterator[None]:
        """Let a process end by itself meanwhile: it cannot start on a full disk; it is only started again."""
        self._excused[name] += 1
        try:
            yield
        finally:
            time.sleep(2 * _LOOK_SECONDS)
            self._excused[name] -= 1

    def settle(self) -> None:
        """See that everything that should run does: after the last fault."""
        with self._lock:
            wanted = sorted(self._wanted)
        for name in wanted:
            with suppress(Exception):
                self._children[name].wait_ready()

    def end_consumers(self) -> None:
        """Stop the consumers as an operator would, and note those that do not end well."""
        with self._lock:
            ended = sorted(name for name in self._wanted if name.startswith("consumer"))
        for name in ended:
            self.release(name)
            if (code := self._children[name].exit_code()) != 0:
                self._note(name, f"ended with {code} when it was told to stop")

    def close(self) -> None:
        """End everything that was started here; harmless when done twice."""
        self._ending.set()
        if self._guard.is_alive():
            self._guard.join(10)
        for name, child in self._children.items():
            if name.startswith("consumer"):
                child.kill()
                child.stop()
            else:
                _signal(command_pids(child), signal.SIGCONT)
        self.proxy.close()

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run `auditlog check` as an operator would."""
        return run_check(self._environment(self._direct_url))

    def _consumer(self, name: str) -> ChildSpec:
        url = f"http://default:@127.0.0.1:{self.proxy.ports[name]}{self._database_path}"
        return ChildSpec(
            name=name,
            argv=(sys.executable, "-m", "auditlog_cli", "consume", "--log-json"),
            env=self._environment(url) | BATCHING[name],
            stop_timeout_seconds=STOP_SECONDS_MAX,
        )

    def _environment(self, clickhouse_url: str) -> dict[str, str]:
        return {
            "AUDITLOG_KAFKA": self.servers.bootstrap,
            "AUDITLOG_CLICKHOUSE_URL": clickhouse_url,
            "AUDITLOG_CLICKHOUSE_REQUEST_TIMEOUT_SECONDS": str(REQUEST_SECONDS_MAX),
            "AUDITLOG_CLICKHOUSE_CONNECT_TIMEOUT_SECONDS": "2",
            "AUDITLOG_TOPIC": self.topic,
            "AUDITLOG_GROUP": self.topic,
            "AUDITLOG_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
        }

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS) and not self.given_up:
            with self._lock:
                for name in sorted(self._wanted):
                    child = self._children[name]
                    if child.exit_code() is not None:
                        if not self._excused[name]:
                            self._note(name, f"ended with {child.exit_code()} by itself\n{child.tail(5)}")
                        self.restarts[name] += 1
                        child.start()

    def _note(self, name: str, what: str) -> None:
        self.exits.append(f"{time.strftime('%H:%M:%S')} {name} {what}")


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
