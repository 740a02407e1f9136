"""Whether this process can answer: ClickHouse, how far the log is complete, Kafka where somebody can tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog

from auditlog_schemas.errors import AuditError
from auditlog_storage.connection import Connection

KEPT_SECONDS: Final = 2.0
PROBE_SECONDS_MAX: Final = 5.0

KafkaProbe: TypeAlias = Callable[[], Mapping[str, int]]
"""Asks Kafka how far its log has been stored, in figures such as ``lag_offsets``; raises AuditError when it
does not answer. Given by whoever may know Kafka: this part may not."""

_log = structlog.get_logger("auditlog.api")


@dataclass(frozen=True, slots=True)
class State:
    """What was found.

    Attributes:
        ready: whether events can be read.
        document: what `/readyz` says.
    """

    ready: bool
    document: dict[str, Any]


class Health:
    """Looks at most once in `KEPT_SECONDS`, however many ask: anybody may.

    Args:
        connection: to ClickHouse.
        run: runs a function that waits in a thread.
        kafka: asks Kafka; None when nobody here can.
    """

    def __init__(
        self,
        connection: Connection,
        run: Callable[[Callable[[], Any]], Any],
        kafka: KafkaProbe | None,
    ) -> None:
        self._connection = connection
        self._run = run
        self._kafka = kafka
        self._looked = float("-inf")
        self._state = State(False, {})
        self._turn = asyncio.Lock()

    async def state(self) -> State:
        """Return how things are now, or were a moment ago."""
        async with self._turn:
            if time.monotonic() - self._looked >= KEPT_SECONDS:
                storage, kafka = await asyncio.gather(self._run(self._storage), self._run(self._of_kafka))
                ready = bool(storage["clickhouse"]["ok"])
                self._state = State(ready, {"ready": ready, **storage, "kafka": kafka})
                self._looked = time.monotonic()
            return self._state

    def _storage(self) -> dict[str, Any]:
        try:
            self._connection.query_rows("SELECT 1", settings={"max_execution_time": 5})
        except AuditError as error:
            _log.warning("not_ready", what="clickhouse", error=str(error))
            return {"clickhouse": {"ok": False}, "log": None}
        return {"clickhouse": {"ok": True}, "log": None}

    def _of_kafka(self) -> dict[str, Any] | None:
        if self._kafka is None:
            return None
        try:
            return {"ok": True, **self._kafka()}
        except AuditError as error:
            _log.warning("not_ready", what="kafka", error=str(error))
            return {"ok": False}
