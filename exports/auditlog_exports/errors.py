"""What can go wrong with an export, beside what ClickHouse says."""

from __future__ import annotations

from auditlog_schemas.errors import AuditError, QueryError, TransientError


class StoreUnavailable(TransientError):
    """The object store did not answer, refused, or has no space."""


class Conflict(QueryError):
    """The job is not in a state in which this can be done, or the key was used for another request."""


class TooManyExports(QueryError):
    """The account has as many jobs as it may have."""


class NotWhole(AuditError):
    """A file, or a whole export, is not what its manifest says."""


class Stopped(AuditError):
    """The worker is to do no more for this job: it was cancelled or taken over, or the worker stops."""
