"""What happens to producers when their process forks or ends without closing them."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import Final, Protocol

from auditlog_schemas.errors import AuditError

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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
atexit.register(_close_all)
