"""Logs on stderr: lines for people, or JSON for collectors."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from auditlog_schemas.inert import inert


def configure_logs(as_json: bool, level: int = logging.INFO) -> None:
    """Send the logs of our parts, and warnings of libraries, to stderr."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=True)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=12, sort_keys=False)
    )
    described: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _inert_values,
    ]
    structlog.configure(
        processors=[*described, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log their own way; their lines look like ours, or a collector of JSON would stumble over them.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *described],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _inert_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        name: inert(value) if isinstance(value, str) and name != "exception" else value
        for name, value in event.items()
    }
