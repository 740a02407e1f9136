"""Trying again: what is away now comes back, so a step is repeated until it works or its epoch ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.partition import Epoch
from auditlog_schemas.errors import TransientError

DELAY_SECONDS_MIN: Final = 0.2
DELAY_SECONDS_MAX: Final = 5.0

T = TypeVar("T")
_log = structlog.get_logger("auditlog.consumer")


def persist(epoch: Epoch, doing: str, step: Callable[[], T], **about: object) -> T:
    """Return what `step` returns, trying again after every TransientError, with growing pauses.

    Args:
        epoch: ends the trying.
        doing: the step in a word or two, always the same ones: retries are counted by it.
        step: may be run any number of times.
        about: partition, range or whatever else a log line should tell.

    Raises:
        EpochEnded: the epoch ended before the step succeeded.
        AuditError: the step raised one that is not transient.
    """
    delay = DELAY_SECONDS_MIN
    while True:
        epoch.require()
        try:
            return step()
        except TransientError as error:
            metrics.RETRIES.labels(doing).inc()
            _log.warning("waiting", doing=doing, **about, error=str(error), retry_in_seconds=round(delay, 1))
            epoch.pause(delay * random.uniform(0.7, 1.0))  # noqa: S311 - spreads the retries only
            delay = min(delay * 2, DELAY_SECONDS_MAX)
