"""What can go wrong with an export, beside what ClickHouse says."""

from __future__ import annotations

from auditlog_schemas.errors import AuditError, NotFound, QueryError, StorageUnavailable, TransientError


class StoreUnavailable(TransientError):
    """The object store did not answer, refused, or has no space."""


class NotAsCounted(TransientError):
    """What was read or written is not what it has to be; the text speaks of the export alone."""


class Conflict(QueryError):
    """The job is not in a state in which this can be done, or the key was used for another request."""


class TooManyExports(QueryError):
    """The account has as many jobs as it may have."""


class NotWhole(AuditError):
    """A file, or a whole export, is not what its manifest says."""


class Stopped(AuditError):
    """The worker is to do no more for this job: it was cancelled or taken over, or the worker stops."""


def for_owner(error: AuditError) -> str:
    """Return what the owner of an export is told of an error: nothing of the servers, which are not theirs.

    The error itself names hosts, users, databases, buckets and paths. It belongs into the log.
    """
    if isinstance(error, NotAsCounted):
        return str(error)
    if isinstance(error, StoreUnavailable | NotFound):
        what = "the store of the exports fails"
    elif isinstance(error, StorageUnavailable):
        what = "the log cannot be read just now"
    else:
        what = "the log cannot be read until an operator has mended something"
    return f"{what}; the worker's log says why, under the id of this export"
