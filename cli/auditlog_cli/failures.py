"""What a failure means to a shell: one line on stderr and an exit code."""

from __future__ import annotations

from typing import Final

from auditlog_schemas.errors import (
    AuditError,
    BadFilter,
    BrokerUnavailable,
    BufferFull,
    ConfigError,
    StorageUnavailable,
    TransientError,
)

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
PLAN: Final = 3
"""There is something to do, and it was only said."""
UNAVAILABLE: Final = 5
INTERRUPTED: Final = 130

EXIT_CODES: Final[tuple[tuple[type[AuditError], int], ...]] = (
    (BadFilter, USAGE),
    (ConfigError, USAGE),
    (TransientError, UNAVAILABLE),
    (BufferFull, UNAVAILABLE),
    (AuditError, FAILURE),
)
"""The exit code by class of error; the first that fits."""

_NEXT: Final[tuple[tuple[type[AuditError], str], ...]] = (
    (BrokerUnavailable, "is Kafka running? `auditlog doctor` says what is wrong"),
    (StorageUnavailable, "is ClickHouse running? `auditlog doctor` says what is wrong"),
    (TransientError, "`auditlog doctor` says what is wrong"),
)


def exit_code(error: AuditError) -> int:
    """Return the exit code of a command that ended with this error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def explanation(error: AuditError) -> str:
    """Return the error and what to do next, in one line."""
    text = str(error).strip()
    for kind, hint in _NEXT:
        # Most errors say themselves what to do, in backquotes.
        if isinstance(error, kind) and "`" not in text:
            return f"{text}; {hint}"
    return text
