"""A chunk: messages joined into one piece of memory, and what becomes known of each while it is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from auditlog_schemas.columnar_cursor import PADDING, Bytes, Lane, Longs, Verdicts, Words
from auditlog_schemas.columnar_slices import Slices
from auditlog_schemas.strict import CONTENT_RULES
from auditlog_schemas.verdicts import DECODE_VERDICTS

CHUNK_BYTES_MAX: Final = 1 << 30
"""Positions are kept in 32 bits where they leave the cursors."""
THIN_ROUNDS: Final = 32
"""How many rounds with few cursors a chunk has; see `auditlog_schemas.columnar_blocks`."""

_NO_FLAW: Final = 255
_CONTENT_VERDICTS: Final = np.array([DECODE_VERDICTS[rule] for rule in CONTENT_RULES], np.int16)


class Chunk:
    """Joined messages and what is known of each: its verdict, the slices that are its strings.

    Attributes:
        raw: the messages back to back, then `PADDING`.
        data: the same as an array.
        words: at each byte the 8 bytes from there on as one little-endian number.
        starts: where each message begins.
        ends: where each message ends.
        zeros: the position of the padding.
        verdict: per message, 0 while it is good.
        zero_size_left: per message how many more items without bytes it may have.
        failures: how often a message was taken out, to see quickly that none was.
        thin_rounds_left: see `auditlog_schemas.columnar_blocks`.
        texts: slices that have to be UTF-8.
        blobs: slices that may hold any bytes.
    """

    def __init__(self, raw: bytes, lengths: Longs, verdict: Verdicts) -> None:
        self.raw = raw
        self.data: Bytes = np.frombuffer(raw, np.uint8)
        self.words: Words = np.ndarray((len(raw) - 7,), "<u8", raw, strides=(1,))
        self.ends: Longs = np.cumsum(lengths)
        self.starts: Longs = self.ends - lengths
        self.zeros = len(raw) - len(PADDING)
        self.verdict = verdict
        self.zero_size_left: Longs = lengths.copy()
        self.failures = 0
        self.thin_rounds_left = THIN_ROUNDS
        self.texts = Slices(raw)
        self.blobs = Slices(raw)
        self._content: Bytes = np.full(len(lengths), _NO_FLAW, np.uint8)

    @classmethod
    def of(cls, messages: Sequence[bytes], lengths: Longs, known: Verdicts) -> Chunk:
        """Join messages of known lengths and verdicts: at most `CHUNK_BYTES_MAX` bytes and one message."""
        return cls(b"".join([*messages, PADDING]), lengths, known.copy())

    def lane(self, rows: Longs, header_bytes: int | Longs) -> Lane:
        """Return cursors behind the headers of some messages; each has to have its header in full."""
        start = self.starts[rows] + header_bytes
        self.zero_size_left[rows] = self.ends[rows] - start
        return Lane(self, start, self.ends[rows], rows)

    def judge_content(self) -> None:
        """Turn flaws of content into verdicts where the structure is good. Builds must have run before."""
        self.flaw(self.texts.rows_without_utf8(), 0)
        flawed = np.flatnonzero((self._content != _NO_FLAW) & (self.verdict == 0))
        self.verdict[flawed] = _CONTENT_VERDICTS[self._content[flawed]]

    def flaw(self, rows: Longs, rank: int) -> None:
        """Note that messages break the content rule of this rank; a message may be named twice."""
        np.minimum.at(self._content, rows, np.uint8(rank))
