"""Reading ahead: ClickHouse works on the next batch while one is written."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

_BATCHES_AHEAD: Final = 2
_LOOK_SECONDS: Final = 0.2


@contextmanager
def reading_ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the same batches, read by a thread that is up to `_BATCHES_AHEAD` of them ahead.

    What reading raises is raised where the batch would have come. The thread has ended when this is left.
    """
    waiting: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(_BATCHES_AHEAD)
    end = threading.Event()

    def put(found: pa.RecordBatch | BaseException | None) -> None:
        while not end.is_set():
            try:
                waiting.put(found, timeout=_LOOK_SECONDS)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for batch in batches:
                put(batch)
                if end.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    def found() -> Iterator[pa.RecordBatch]:
        while (each := waiting.get()) is not None:
            if isinstance(each, BaseException):
                raise each
            yield each

    thread = threading.Thread(target=read, name="reading ahead", daemon=True)
    thread.start()
    try:
        yield found()
    finally:
        end.set()
        thread.join()
