"""What happens to producers when their process forks or ends without closing them."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from auditlog_schemas.errors import AuditError, InvalidEvent
from auditlog_schemas.event import AuditEvent

EXIT_FLUSH_SECONDS_MAX: Final = 10.0

_log = logging.getLogger(__name__)


class Closable(Protocol):
    """A producer, as far as this module cares."""

    def close(self, timeout_seconds: float = ...) -> None:
        """Deliver what is left and stop."""

    def abandon_after_fork(self) -> None:
        """Become unusable: the threads that did the work live in the parent process only."""


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def watch(producer: Closable) -> None:
    """From now on close the producer at exit and abandon it in forked children."""
    _open.add(producer)


def unwatch(producer: Closable) -> None:
    """The producer was closed."""
    _open.discard(producer)


def _abandon_all() -> None:
    for producer in list(_open):
        producer.abandon_after_fork()
    _open.clear()


def _close_all() -> None:
    for producer in list(_open):
        try:
            producer.close(EXIT_FLUSH_SECONDS_MAX)
        except AuditError as error:
            _log.error("at exit: %s", error)


def _validate_for_the_first_time() -> None:
    """Validate an event from objects, one from text, and ones with a wrong value of each kind.

    pydantic locks what it fills in at the first use. A child that is forked while a thread does that finds
    the lock taken, with nobody to give it back, and its own first event waits for ever.
    """
    objects: dict[str, Any] = {
        "event_id": UUID(int=0),
        "account_id": "a",
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "action": "a",
        "entity": {"type": "t", "id": "i"},
        "source": {"service": "s", "instance_id": "i", "sequence": 1},
        "actor": {"type": "system", "id": "i"},
    }
    text = objects | {"event_id": str(UUID(int=0)), "occurred_at": "2026-01-01T00:00:00Z"}
    fields = ("event_id", "occurred_at", "action_version", "actor", "unknown")
    for value in (objects, text, *(text | {field: "?"} for field in fields)):
        with suppress(InvalidEvent):
            AuditEvent.parse(value)


if hasattr(os, "register_at_fork"):
    _validate_for_the_first_time()
    os.register_at_fork(after_in_child=_abandon_all)
atexit.register(_close_all)
