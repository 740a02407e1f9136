"""Finding ids that come more than once among hundreds of millions, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Final
from uuid import UUID

import numpy as np

BUCKETS: Final = 64
BUCKET_BYTES_MAX: Final = 64 * 1024
_ID_BYTES: Final = 16


class UniqueIds:
    """Takes ids in, and says which of them came more than once; use it as a context manager.

    Ids go to temporary files by their last byte, the random end of a UUIDv7, so that each file is small
    enough to be sorted: in memory are 1/64 of 16 bytes an id.
    """

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = []
        self._waiting = [bytearray() for _ in range(BUCKETS)]

    def __enter__(self) -> UniqueIds:
        self._files = [TemporaryFile() for _ in range(BUCKETS)]  # noqa: SIM115 - closed by __exit__
        return self

    def __exit__(self, *exc_info: object) -> None:
        for file in self._files:
            file.close()

    def add(self, event_id: UUID) -> None:
        """Take in an id."""
        name = event_id.bytes
        bucket = name[-1] % BUCKETS
        waiting = self._waiting[bucket]
        waiting += name
        if len(waiting) >= BUCKET_BYTES_MAX:
            self._files[bucket].write(waiting)
            waiting.clear()

    def repeated(self, limit: int) -> Iterator[UUID]:
        """Yield ids that came more than once, at most `limit`; then no more ids may be added."""
        for bucket, file in enumerate(self._files):
            file.write(self._waiting[bucket])
            file.seek(0)
            # Compared without zeros at their end, which are the same for equal ids.
            ids = np.sort(np.frombuffer(file.read(), dtype=f"S{_ID_BYTES}"))
            for index in np.unique(np.flatnonzero(ids[1:] == ids[:-1])):
                if limit <= 0:
                    return
                limit -= 1
                yield UUID(bytes=bytes(ids[index]).ljust(_ID_BYTES, b"\0"))
