"""Keys that every process of an installation shares: random bytes that are in ClickHouse and nowhere else."""

from __future__ import annotations

from secrets import token_bytes
from typing import Final, Literal, TypeAlias, get_args

import pyarrow as pa

from auditlog_schemas.errors import ConfigError, StorageRejected
from auditlog_storage.connection import Connection
from auditlog_storage.tables import AUDIT_KEYS, KEY_BYTES

KeyName: TypeAlias = Literal["cursor", "own_events"]
"""What a key is for: cursors and positions of the API; the audit events that the API itself publishes."""

_UNKNOWN_TABLE: Final = 60

# Two migrations at once may both find a key missing: the older row holds, everywhere and for good.
_OLDEST: Final = """
    SELECT name, hex(argMin(key, (created_at, key))) FROM audit_keys GROUP BY name
"""


class Keys:
    """Reads and makes the keys in `audit_keys`, for any number of threads; raises what `Connection` raises.

    A key is read anew each time: keep it for as long as the process may use it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, name: KeyName) -> bytes:
        """Return a key, 32 bytes.

        Raises:
            ConfigError: there is none.
        """
        try:
            known = self._known()
        except StorageRejected as error:
            if error.code != _UNKNOWN_TABLE:
                raise
            known = {}
        if name not in known:
            raise ConfigError(
                f"the database {self._connection.database} has no key {name!r} in audit_keys: "
                "run `auditlog migrate`"
            )
        return known[name]

    def make_missing(self) -> tuple[str, ...]:
        """Make every key that is missing; return their names."""
        known = self._known()
        missing = tuple(name for name in get_args(KeyName) if name not in known)
        if missing:
            # As the body of the insert: a statement's text is in the server's logs.
            rows = [{"name": name, "key": token_bytes(KEY_BYTES)} for name in missing]
            batch = pa.RecordBatch.from_pylist(rows, schema=AUDIT_KEYS.rows)
            self._connection.insert_batch(AUDIT_KEYS.name, batch, token=None)
        return missing

    def _known(self) -> dict[str, bytes]:
        return {name: bytes.fromhex(key) for name, key in self._connection.query_rows(_OLDEST)}
