"""Ends the server when the engine failed to write, before anything that was said can rest on it.

chDB (4.4, its `WriteBufferFromFileDescriptor`) goes on after a write that failed, as if it had succeeded,
where ClickHouse raises error 75: with no space left, its inserts and merges make parts without their data
and put them into place. All it does is count. So the count is looked at before a statement that writes is
answered, and all the time for the sake of merges; when it is not 0 the process ends at once, as in a crash.
While there is little space, it is looked at before any statement is answered: one that reads may have seen
what a merge damaged. (A merge whose writes fail for another reason, such as a user's quota, is noticed within
a quarter of a second.)

What was damaged is found when the engine is opened again, since every lost byte makes a file shorter than the
part's checksums say. The engine sets such a part aside and takes the parts that it was merged from, which it
keeps for another eight minutes. A damaged projection it only notes; `mend_projections` has it made again.

Nothing else may make the engine's writes fail: the pipe of a result is read to its end also when its client
is gone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from auditlog_local.clickhouse.engine import Engine
from auditlog_local.clickhouse.errors import NOT_ENOUGH_SPACE, EngineError
from auditlog_local.clickhouse.free_space import free_bytes

LOOK_SECONDS: Final = 0.25
SHORT_LOOK_SECONDS: Final = 0.02
"""While there is little space: a merge must not read what another one has just damaged."""
SHORT_BYTES: Final = 64 << 20
"""There is little space when less than this, or than what is kept free, is free, and for a while after."""
SHORT_SECONDS: Final = 1.0
EXIT_CODE: Final = 3
"""Of a server that ended because a write failed."""

_log = logging.getLogger(__name__)


class WriteGuard:
    """Looks after the engine's writes; `close` it before the engine.

    Args:
        engine: the open engine, over a directory in the current one.
        keep_free_bytes: what the engine keeps free.
    """

    def __init__(self, engine: Engine, keep_free_bytes: int) -> None:
        self._engine = engine
        self._keep_free_bytes = keep_free_bytes
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._short_until = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="failed writes", daemon=True)
        self._thread.start()

    def end_if_failed(self) -> None:
        """Return when no write of the engine had failed by the time of this call; else the process ends.

        Calls at the same time share a look.

        Raises:
            EngineError: the engine does not tell.
        """
        called_at = time.monotonic()
        with self._lock:
            if self._looked_at > called_at:
                return
            looking_at = time.monotonic()
            failed = self._engine.failed_writes()
            self._looked_at = looking_at
        if failed:
            _log.error(
                "%d writes to the disk failed, and the engine does not mind: ending at once, as in a crash, "
                "before anything rests on what is not there; make room on the disk and start again",
                failed,
            )
            os._exit(EXIT_CODE)

    def look_at_end(self, reads_only: bool) -> None:
        """Look, where the answer of a statement that has ended may rest on a failed write: see the module.

        Raises:
            EngineError: the engine does not tell.
        """
        if not reads_only or self._is_short():
            self.end_if_failed()

    def require_space(self) -> None:
        """Return when what is kept free is free: before tables are made or changed, and rows deleted.

        The engine asks by itself before it writes rows, but not here; and it does not open again when the
        file of a table or of a mutation is empty.

        Raises:
            EngineError: 243, less is free.
        """
        if (free := free_bytes(Path())) < self._keep_free_bytes:
            raise EngineError(
                NOT_ENOUGH_SPACE, f"{free} bytes are free on the disk, {self._keep_free_bytes} are kept free"
            )

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(SHORT_LOOK_SECONDS):
            due = self._looked_at + LOOK_SECONDS <= time.monotonic()
            if self._is_short() or due:
                with suppress(EngineError):
                    self.end_if_failed()

    def _is_short(self) -> bool:
        """Tell whether there is little space or was within the last second."""
        now = time.monotonic()
        if free_bytes(Path()) < max(self._keep_free_bytes, SHORT_BYTES):
            self._short_until = now + SHORT_SECONDS
        return now < self._short_until


def mend_projections(engine: Engine) -> None:
    """Begin to make the projections again that the engine found damaged when it was opened.

    Until one is there, the engine reads the part itself instead, and does not merge it with others.
    """
    for database, table, projection, partition_id in engine.broken_projections():
        where = f"the projection {projection} of {database}.{table} in its partition {partition_id}"
        _log.warning("%s is damaged and is made again", where)
        try:
            engine.materialize_projection(database, table, projection, partition_id)
        except EngineError as error:
            _log.error("%s cannot be made again: %s", where, error.text)
