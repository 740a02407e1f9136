"""From what ClickHouse or the network answers to this project's errors: one table, used in one place."""

from __future__ import annotations

from typing import Final

from auditlog_schemas.errors import AuditError, ConfigError, StorageRejected, StorageUnavailable
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError, StreamFailureError

_OVERLOADED: Final = "it is overloaded"
_NETWORK: Final = "its network failed"
_DISK: Final = "its disk cannot be written or read: look at free space, permissions and its log"
_REPLICA: Final = "replicas or their Keeper are not ready"
_STOPPED: Final = "the query was stopped, for example by a shutdown"

RETRY: Final[dict[int, str]] = {
    74: _DISK,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
    75: _DISK,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR: what a full disk looks like in the middle of a part
    76: _DISK,  # CANNOT_OPEN_FILE: read-only file system, too many open files
    77: _DISK,  # CANNOT_CLOSE_FILE
    96: _NETWORK,  # CANNOT_WRITE_TO_SOCKET
    159: "the query took longer than it may",  # TIMEOUT_EXCEEDED
    173: _OVERLOADED,  # CANNOT_ALLOCATE_MEMORY
    198: _NETWORK,  # DNS_ERROR
    201: "this user's quota is used up for now",  # QUOTA_EXCEEDED
    202: _OVERLOADED,  # TOO_MANY_SIMULTANEOUS_QUERIES
    203: _OVERLOADED,  # NO_FREE_CONNECTION
    209: _NETWORK,  # SOCKET_TIMEOUT
    210: _NETWORK,  # NETWORK_ERROR
    225: _REPLICA,  # NO_ZOOKEEPER
    236: _STOPPED,  # ABORTED
    241: "it is out of memory, or the query over its limit",  # MEMORY_LIMIT_EXCEEDED
    242: "the table is read-only for now: its replica lost Keeper",  # TABLE_IS_READ_ONLY
    243: _DISK,  # NOT_ENOUGH_SPACE
    252: "merges are behind: too many parts",  # TOO_MANY_PARTS
    254: _REPLICA,  # NO_ACTIVE_REPLICAS
    279: _NETWORK,  # ALL_CONNECTION_TRIES_FAILED
    285: _REPLICA,  # TOO_FEW_LIVE_REPLICAS
    286: _REPLICA,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    289: _REPLICA,  # REPLICA_IS_NOT_IN_QUORUM
    319: "whether the insert was stored is unknown: the same token settles it",  # UNKNOWN_STATUS_OF_INSERT
    369: _REPLICA,  # ALL_REPLICAS_ARE_STALE
    394: _STOPPED,  # QUERY_WAS_CANCELLED
    439: _OVERLOADED,  # CANNOT_SCHEDULE_TASK
    473: "tables are locked for longer than the query may wait",  # DEADLOCK_AVOIDED
    499: _DISK,  # S3_ERROR
    519: _NETWORK,  # NO_REMOTE_SHARD_AVAILABLE
    667: "it is still starting",  # NOT_INITIALIZED
    692: "mutations are behind",  # TOO_MANY_MUTATIONS
    722: "it is still starting",  # ASYNC_LOAD_WAIT_FAILED
    733: "the table is being restarted",  # TABLE_IS_BEING_RESTARTED
    735: _STOPPED,  # QUERY_WAS_CANCELLED_BY_CLIENT
    745: _OVERLOADED,  # SERVER_OVERLOADED
    749: _OVERLOADED,  # TCP_CONNECTION_LIMIT_REACHED
    999: _REPLICA,  # KEEPER_EXCEPTION
    1000: _NETWORK,  # POCO_EXCEPTION: of the library below, sockets and files
    1001: _DISK,  # STD_EXCEPTION: in practice std::filesystem on a full or read-only disk
}
"""ClickHouse error codes after which waiting and trying again can help, and why."""

CONFIG: Final[dict[int, str]] = {
    81: "create the database with `auditlog migrate`, or correct AUDITLOG_CLICKHOUSE_URL",  # UNKNOWN_DATABASE
    164: "this user may only read: use another one in AUDITLOG_CLICKHOUSE_URL",  # READONLY
    192: "check the user in AUDITLOG_CLICKHOUSE_URL",  # UNKNOWN_USER
    193: "check the password in AUDITLOG_CLICKHOUSE_URL",  # WRONG_PASSWORD
    194: "AUDITLOG_CLICKHOUSE_URL needs a password",  # REQUIRED_PASSWORD
    195: "the user in AUDITLOG_CLICKHOUSE_URL may not connect from this address",  # IP_ADDRESS_NOT_ALLOWED
    497: "grant the user in AUDITLOG_CLICKHOUSE_URL what the message names",  # ACCESS_DENIED
    516: "check user and password in AUDITLOG_CLICKHOUSE_URL",  # AUTHENTICATION_FAILED
    701: "the cluster is not in the server's configuration",  # CLUSTER_DOESNT_EXIST
}
"""ClickHouse error codes that an operator settles by configuration, and how."""

HINTS: Final[dict[int, str]] = {
    16: "; run `auditlog migrate`",  # NO_SUCH_COLUMN_IN_TABLE
    47: "; run `auditlog migrate`",  # UNKNOWN_IDENTIFIER
    60: "; run `auditlog migrate`",  # UNKNOWN_TABLE
    115: "; this ClickHouse is older than the one this version needs (26.x)",  # UNKNOWN_SETTING
    469: "; a row breaks a constraint of its table: nothing of the batch was stored",  # VIOLATED_CONSTRAINT
}
"""What to add to a terminal error of these codes."""

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
            return StorageUnavailable(f"ClickHouse at {where} cannot be reached or did not answer: {text}")
        return StorageRejected(f"ClickHouse at {where} cannot be asked this: {text}")
    if code in RETRY:
        return StorageUnavailable(f"ClickHouse at {where} has to be tried again, {RETRY[code]}: {text}")
    if code in CONFIG:
        return ConfigError(f"ClickHouse at {where} refused: {text}; {CONFIG[code]}")
    return StorageRejected(f"ClickHouse at {where} refused: {text}{HINTS.get(code, '')}", code)
