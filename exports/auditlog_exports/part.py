"""One part: a file of events, and the record of what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from auditlog_exports.encoding import file_bytes, head_of
from auditlog_exports.job import Shape
from auditlog_schemas.event import datetime_of
from auditlog_schemas.record import micros_of
from auditlog_storage.cursor import Position
from auditlog_storage.event_stream import position_of
from auditlog_storage.moments import read_moment, rfc3339


@dataclass(frozen=True, slots=True)
class Part:
    """What a part holds.

    Attributes:
        number: parts count from 1.
        file: its name beside the manifest.
        rows: events in it.
        bytes: of the file.
        sha256: of the file, in hex.
        head_bytes: how many of its first bytes are the header, which one file of all parts has once.
        first, last: places of its first and its last event; None in an empty export.
        actions: how many events of each action.
    """

    number: int
    file: str
    rows: int
    bytes: int
    sha256: str
    head_bytes: int
    first: Position | None
    last: Position | None
    actions: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-like data."""
        return {
            "part": self.number,
            "file": self.file,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "head_bytes": self.head_bytes,
            "first": _place_json(self.first),
            "last": _place_json(self.last),
            "actions": dict(sorted(self.actions.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Part:
        """Return the part of `to_json`."""
        return cls(
            data["part"],
            data["file"],
            data["rows"],
            data["bytes"],
            data["sha256"],
            data["head_bytes"],
            _place(data["first"]),
            _place(data["last"]),
            data["actions"],
        )


@dataclass(slots=True)
class PartInMaking:
    """Counts and hashes a part while its bytes are made."""

    number: int
    shape: Shape
    rows: int = 0
    size: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    first: Position | None = None
    last: Position | None = None

    def chunks(self, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
        """Yield the file's bytes; afterwards `part` says what it holds."""
        self._hash = sha256()
        for chunk in file_bytes(self.shape, self._counted(batches)):
            if chunk:
                self._hash.update(chunk)
                self.size += len(chunk)
                yield chunk

    def part(self) -> Part:
        """Return the record."""
        return Part(
            self.number,
            self.shape.file_name(self.number),
            self.rows,
            self.size,
            self._hash.hexdigest(),
            len(head_of(self.shape)),
            self.first,
            self.last,
            dict(self.actions),
        )

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.rows += batch.num_rows
            counts: Any = pc.value_counts(batch.column("key_action"))
            for found in counts.to_pylist():
                self.actions[found["values"]] += found["counts"]
            self.first = self.first or position_of(batch, 0)
            self.last = position_of(batch, batch.num_rows - 1)
            yield batch

    _hash: Any = None


def _place_json(place: Position | None) -> dict[str, str] | None:
    if place is None:
        return None
    return {"occurred_at": rfc3339(datetime_of(place.occurred_at_micros)), "event_id": str(place.event_id)}


def _place(data: Mapping[str, str] | None) -> Position | None:
    if data is None:
        return None
    when = datetime_of(0)
    return Position(micros_of(read_moment(data["occurred_at"], when).start), UUID(data["event_id"]))
