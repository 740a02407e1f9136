"""A partition that is stopped: its trouble is its own, and it is tried again after growing pauses."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from auditlog_schemas.errors import ConfigError, StorageRejected
from auditlog_storage.server_errors import OTHER_VERSION

PAUSE_SECONDS_MIN: Final = 2.0
PAUSE_SECONDS_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a partition is stopped, and when it is tried again.

    Attributes:
        error: what stopped it.
        retry_seconds: when it is tried again, by a monotonic clock, once nothing is under way any more.
        under_way: what threads still did for it.
    """

    error: Exception
    retry_seconds: float
    under_way: Sequence[Future[Any]]

    def is_over(self, now_seconds: float) -> bool:
        """Tell whether it is time to try again."""
        return now_seconds >= self.retry_seconds and all(step.done() for step in self.under_way)


def pause_seconds(failures: int) -> float:
    """Return how long a partition is stopped that has failed so many times in a row."""
    return min(PAUSE_SECONDS_MIN * 2.0 ** min(failures - 1, 10), PAUSE_SECONDS_MAX)


def stops_all(error: BaseException) -> bool:
    """Tell whether an error is of the whole process: settings, rights, the topic, the tables.

    All others, also ones that nobody foresaw, may come from what one partition holds.
    """
    if not isinstance(error, Exception) or isinstance(error, ConfigError):
        return True
    return isinstance(error, StorageRejected) and error.code in OTHER_VERSION
