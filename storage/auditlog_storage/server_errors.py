"""From what ClickHouse or the network answers to this project's errors: one table, used in one place."""

from __future__ import annotations

from typing import Final

from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError, StreamFailureError

from auditlog_schemas.errors import AuditError, ConfigError, StorageRejected, StorageUnavailable

_OVERLOADED: Final = "it is overloaded"
_NETWORK: Final = "its network failed"
_DISK: Final = "its disk cannot be written or read: look at free space, permissions and its log"
_REPLICA: Final = "replicas or their Keeper are not ready"
_STOPPED: Final = "the query was stopped, for example by a shutdown"

RETRY: Final[dict[int, tuple[str, str]]] = {
    74: ("CANNOT_READ_FROM_FILE_DESCRIPTOR", _DISK),
    75: ("CANNOT_WRITE_TO_FILE_DESCRIPTOR", _DISK),  # what a full disk looks like in the middle of a part
    76: ("CANNOT_OPEN_FILE", _DISK),  # read-only file system, too many open files
    77: ("CANNOT_CLOSE_FILE", _DISK),
    96: ("CANNOT_WRITE_TO_SOCKET", _NETWORK),
    159: ("TIMEOUT_EXCEEDED", "the query took longer than it may"),
    173: ("CANNOT_ALLOCATE_MEMORY", _OVERLOADED),
    198: ("DNS_ERROR", _NETWORK),
    201: ("QUOTA_EXCEEDED", "this user's quota is used up for now"),
    202: ("TOO_MANY_SIMULTANEOUS_QUERIES", _OVERLOADED),
    203: ("NO_FREE_CONNECTION", _OVERLOADED),
    209: ("SOCKET_TIMEOUT", _NETWORK),
    210: ("NETWORK_ERROR", _NETWORK),
    # clickhouse-connect re-sends a query by itself when the connection closes, and the first one still runs.
    216: ("QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "an earlier copy of the query still runs"),
    225: ("NO_ZOOKEEPER", _REPLICA),
    236: ("ABORTED", _STOPPED),
    241: ("MEMORY_LIMIT_EXCEEDED", "it is out of memory, or the query over its limit"),
    242: ("TABLE_IS_READ_ONLY", "the table is read-only for now: its replica lost Keeper"),
    243: ("NOT_ENOUGH_SPACE", _DISK),
    252: ("TOO_MANY_PARTS", "merges are behind: too many parts"),
    254: ("NO_ACTIVE_REPLICAS", _REPLICA),
    279: ("ALL_CONNECTION_TRIES_FAILED", _NETWORK),
    285: ("TOO_FEW_LIVE_REPLICAS", _REPLICA),
    286: ("UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", _REPLICA),
    289: ("REPLICA_IS_NOT_IN_QUORUM", _REPLICA),
    319: ("UNKNOWN_STATUS_OF_INSERT", "whether the insert was stored is unknown: the same token settles it"),
    369: ("ALL_REPLICAS_ARE_STALE", _REPLICA),
    394: ("QUERY_WAS_CANCELLED", _STOPPED),
    439: ("CANNOT_SCHEDULE_TASK", _OVERLOADED),
    473: ("DEADLOCK_AVOIDED", "tables are locked for longer than the query may wait"),
    499: ("S3_ERROR", _DISK),
    519: ("NO_REMOTE_SHARD_AVAILABLE", _NETWORK),
    667: ("NOT_INITIALIZED", "it is still starting"),
    692: ("TOO_MANY_MUTATIONS", "mutations are behind"),
    722: ("ASYNC_LOAD_WAIT_FAILED", "it is still starting"),
    733: ("TABLE_IS_BEING_RESTARTED", "the table is being restarted"),
    735: ("QUERY_WAS_CANCELLED_BY_CLIENT", _STOPPED),
    745: ("SERVER_OVERLOADED", _OVERLOADED),
    749: ("TCP_CONNECTION_LIMIT_REACHED", _OVERLOADED),
    999: ("KEEPER_EXCEPTION", _REPLICA),
    1000: ("POCO_EXCEPTION", _NETWORK),  # of the library below, sockets and files
    1001: ("STD_EXCEPTION", _DISK),  # in practice std::filesystem on a full or read-only disk
}
"""ClickHouse errors after which waiting and trying again can help: code -> (name, why)."""

CONFIG: Final[dict[int, tuple[str, str]]] = {
    81: (
        "UNKNOWN_DATABASE",
        "create the database with `auditlog migrate`, or correct AUDITLOG_CLICKHOUSE_URL",
    ),
    164: ("READONLY", "this user may only read: use another one in AUDITLOG_CLICKHOUSE_URL"),
    192: ("UNKNOWN_USER", "check the user in AUDITLOG_CLICKHOUSE_URL"),
    193: ("WRONG_PASSWORD", "check the password in AUDITLOG_CLICKHOUSE_URL"),
    194: ("REQUIRED_PASSWORD", "AUDITLOG_CLICKHOUSE_URL needs a password"),
    195: ("IP_ADDRESS_NOT_ALLOWED", "the user in AUDITLOG_CLICKHOUSE_URL may not connect from this address"),
    497: ("ACCESS_DENIED", "grant the user in AUDITLOG_CLICKHOUSE_URL what the message names"),
    516: ("AUTHENTICATION_FAILED", "check user and password in AUDITLOG_CLICKHOUSE_URL"),
    701: ("CLUSTER_DOESNT_EXIST", "the cluster is not in the server's configuration"),
}
"""ClickHouse errors that an operator settles by configuration: code -> (name, how)."""

HINTS: Final[dict[int, str]] = {
    16: "; run `auditlog migrate`",  # NO_SUCH_COLUMN_IN_TABLE
    47: "; run `auditlog migrate`",  # UNKNOWN_IDENTIFIER
    60: "; run `auditlog migrate`",  # UNKNOWN_TABLE
    115: "; this ClickHouse is older than the one this version needs (26.x)",  # UNKNOWN_SETTING
    469: "; a row breaks a constraint of its table: nothing of the batch was stored",  # VIOLATED_CONSTRAINT
}
"""What to add to a terminal error of these codes."""

OTHER_VERSION: Final = frozenset({16, 47, 60, 115})
"""Codes of `StorageRejected` that say: these tables, or this server, are not the ones of this version."""

_TEXT_MAX: Final = 1_000


def translate(error: Error, where: str) -> AuditError:
    """Return our error for one of clickhouse-connect's; `where` names the server without its password.

    StorageUnavailable for network trouble, for an answer that is not ClickHouse's own (a proxy), and for
    the codes of `RETRY`; ConfigError for the codes of `CONFIG`; StorageRejected for every other code.
    """
    text = str(error).strip()[:_TEXT_MAX]
    code = error.code
    if code is None:
        if type(error) in (DatabaseError, OperationalError, StreamFailureError):
            reason = _first_cause(error) or text
            return StorageUnavailable(f"ClickHouse at {where} cannot be reached or did not answer: {reason}")
        return StorageRejected(f"ClickHouse at {where} cannot be asked this: {text}")
    if code in RETRY:
        return StorageUnavailable(
            f"ClickHouse at {where} has to be tried again, {RETRY[code][1]}: {text}", code
        )
    if code in CONFIG:
        return ConfigError(f"ClickHouse at {where} refused: {text}; {CONFIG[code][1]}")
    return StorageRejected(f"ClickHouse at {where} refused: {text}{HINTS.get(code, '')}", code)


def _first_cause(error: BaseException) -> str:
    """Return what the socket said, if anything: the layers above repeat the whole address with its values."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return "" if cause is error else f"{type(cause).__name__}: {cause}"[:_TEXT_MAX]
