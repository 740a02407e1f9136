"""Keeps the consumer's log lines out of a simulation: there are thousands, and the trace says more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def silent_logs() -> Iterator[None]:
    """Write no log lines inside the block."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.reset_defaults()
