"""One statement on its way through the server."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from uuid import uuid4

from auditlog_local.clickhouse.access import User
from auditlog_local.clickhouse.engine import Classified, Engine, Kind
from auditlog_local.clickhouse.request import QueryRequest
from auditlog_local.clickhouse.statement import Statement

_KILL_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """What a statement that succeeded leaves.

    Attributes:
        result: its answer, when that is small; a SELECT's went through the pipe.
        has_result: whether it is a statement that answers at all, be it with nothing.
        format: the answer's format.
        summary: the counts of `X-ClickHouse-Summary`.
    """

    result: bytes
    has_result: bool
    format: str
    summary: dict[str, str]


class Job:
    """A statement that its user may run; `cancel` may be called from any thread."""

    def __init__(
        self, request: QueryRequest, user: User, statement: Statement, classified: Classified
    ) -> None:
        self.request = request
        self.user = user
        self.statement = statement
        self.classified = classified
        self.tag = uuid4().hex
        self.cancelled = threading.Event()
        self.ended = threading.Event()

    @property
    def reads_only(self) -> bool:
        """Whether the engine says that the statement changes nothing."""
        return self.classified.kind is Kind.READ_ONLY

    def cancel(self, engine: Engine) -> None:
        """Kill the statement and return once it has ended; asked again until the engine has noticed."""
        self.cancelled.set()
        while not self.ended.is_set():
            engine.kill(self.tag)
            self.ended.wait(_KILL_INTERVAL_SECONDS)
