"""Whether this process can answer: ClickHouse, how far the log is complete, Kafka where somebody can tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import structlog

from auditlog_schemas.errors import AuditError
from auditlog_storage.connection import Connection
from auditlog_storage.keys import Keys
from auditlog_storage.moments import rfc3339

KEPT_SECONDS: Final = 2.0

_log = structlog.get_logger("auditlog.api")


@dataclass(frozen=True, slots=True)
class KafkaState:
    """How the log stands to Kafka.

    Attributes:
        lag_offsets: messages that the ledger does not cover yet.
        complete_up_to: what Kafka received before is recorded; None when that could not be found out.
    """

    lag_offsets: int
    complete_up_to: datetime | None


AskKafka: TypeAlias = Callable[[], KafkaState]
"""Asks Kafka; raises AuditError when it does not answer. Given by a part that may know Kafka."""


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
        kafka: AskKafka | None,
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
                looks = (self._run(self._answers), self._run(self._of_kafka))
                (ready, (kafka, complete)), log = await asyncio.gather(*looks), None
                if complete is not None:
                    log = {"complete_up_to": rfc3339(complete)}
                clickhouse = {"ok": ready}
                document = {"ready": ready, "clickhouse": clickhouse, "log": log, "kafka": kafka}
                self._state = State(ready, document)
                self._looked = time.monotonic()
            return self._state

    def _answers(self) -> bool:
        try:
            # Also tells whether the tables are there: `auditlog migrate` makes the keys last.
            Keys(self._connection).read("cursor")
        except AuditError as error:
            _log.warning("not_ready", what="clickhouse", error=str(error))
            return False
        return True

    def _of_kafka(self) -> tuple[dict[str, Any] | None, datetime | None]:
        if self._kafka is None:
            return None, None
        try:
            state = self._kafka()
        except AuditError as error:
            _log.warning("not_ready", what="kafka", error=str(error))
            return {"ok": False}, None
        return {"ok": True, "lag_offsets": state.lag_offsets}, state.complete_up_to
