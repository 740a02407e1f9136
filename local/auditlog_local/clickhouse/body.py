"""A request's body, decompressed: in memory up to a bound, in a temporary file beyond it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

MEMORY_BYTES_MAX = 64 << 20
_PIECE_BYTES = 1 << 20


class Body:
    """The bytes of one request. Use as a context manager: leaving it removes the temporary file.

    The whole body is there before a statement starts, so a client that dies while sending never leaves
    half an INSERT behind.

    Attributes:
        spool_dir: where the temporary file is, if there is one.
        size: how many bytes were written.
    """

    def __init__(self, spool_dir: Path, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self.spool_dir = spool_dir
        self._memory_bytes_max = memory_bytes_max
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self.size = 0

    @property
    def in_memory(self) -> bool:
        """Whether it needs no temporary file."""
        return self._file is None

    def write(self, data: bytes) -> None:
        """Append to the body."""
        if not data:
            return
        self.size += len(data)
        if self._file is None and self.size > self._memory_bytes_max:
            self._spill()
        if self._file is None:
            self._pieces.append(data)
        else:
            self._file.write(data)

    def _spill(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="body-", dir=self.spool_dir)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "w+b")
        for piece in self._pieces:
            self._file.write(piece)
        self._pieces.clear()

    def head(self, size: int) -> bytes:
        """The first ``size`` bytes, or all when there are fewer."""
        taken, length = [], 0
        for piece in self.pieces():
            taken.append(piece)
            length += len(piece)
            if length >= size:
                break
        return b"".join(taken)[:size]

    def pieces(self, skip: int = 0) -> Iterator[bytes]:
        """The bytes from ``skip`` on, in pieces."""
        if self._file is not None:
            self._file.flush()
            self._file.seek(skip)
            while piece := self._file.read(_PIECE_BYTES):
                yield piece
            return
        for piece in self._pieces:
            if skip >= len(piece):
                skip -= len(piece)
                continue
            yield piece[skip:] if skip else piece
            skip = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            with suppress(FileNotFoundError):
                self._path.unlink()
