"""Checking an export afterwards, from its files alone: nothing is asked of anybody."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from auditlog_exports.errors import NotWhole
from auditlog_exports.job import Shape
from auditlog_exports.places import MANIFEST
from auditlog_exports.unique_ids import UniqueIds
from auditlog_schemas.errors import ConfigError
from auditlog_storage.event_csv import CSV_COLUMNS
from auditlog_storage.formula import neutral
from auditlog_storage.moments import rfc3339

FINDINGS_MAX: Final = 100
_READ_BYTES: Final = 1024 * 1024

# A cell may hold what an event may: 200 changes of 32 KiB, written as JSON.
csv.field_size_limit(64 * 1024 * 1024)


@dataclass(slots=True)
class Verified:
    """What was found.

    Attributes:
        parts, rows, bytes: how much was read.
        findings: what is wrong, at most `FINDINGS_MAX`; empty when the export is whole.
    """

    parts: int = 0
    rows: int = 0
    bytes: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether the export is what its manifest says."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class _Event:
    event_id: str
    account_id: str
    occurred_at: str
    action: str


def verify(directory: Path, progress: Callable[[int], None] | None = None) -> Verified:
    """Read every part of an export and compare it with its manifest.

    Sizes and SHA-256 of the files, the number of events in each and of each action, their account, their
    order and ends, and that no event id comes twice.

    Args:
        directory: holds the manifest and the parts.
        progress: told how many events were read.

    Raises:
        ConfigError: there is no manifest in it, or the file is none.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{directory} has no {MANIFEST} ({error.strerror}): not an export, or not whole"
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{directory / MANIFEST} is not JSON") from None
    try:
        return _Verification(directory, manifest, progress).run()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{directory / MANIFEST} is no export's manifest: {error!r:.200}") from error


class _Verification:
    def __init__(
        self, directory: Path, manifest: dict[str, Any], progress: Callable[[int], None] | None
    ) -> None:
        self._directory = directory
        self._manifest = manifest
        self._progress = progress
        self._shape = Shape(manifest["format"], manifest["compression"], manifest["raw_csv"])
        self._found = Verified()
        account: str = manifest["account_id"]
        is_neutral = self._shape.format == "csv" and not self._shape.raw_csv
        self._account = neutral(account) if is_neutral else account
        self._actions: Counter[str] = Counter()
        self._last: datetime | None = None

    def run(self) -> Verified:
        manifest, found = self._manifest, self._found
        with UniqueIds() as ids:
            for index, part in enumerate(manifest["parts"]):
                if part["part"] != index + 1:
                    self._say(f"the manifest lists part {part['part']} where {index + 1} belongs")
                self._part(part, ids)
            for event_id in ids.repeated(FINDINGS_MAX):
                self._say(f"event {event_id} comes more than once")
        if found.rows != manifest["rows"]:
            self._say(f"there are {found.rows:,} events, the manifest says {manifest['rows']:,}")
        if dict(sorted(self._actions.items())) != manifest["actions"]:
            self._say("the numbers of events of each action differ from the manifest's")
        known = {part["file"] for part in manifest["parts"]} | {MANIFEST}
        for path in sorted(self._directory.glob("part-*")):
            if path.name not in known:
                self._say(f"{path.name} is not in the manifest")
        return found

    def _part(self, part: dict[str, Any], ids: UniqueIds) -> None:
        name, found = part["file"], self._found
        path = self._directory / name
        try:
            size, digest = _hash(path)
        except OSError as error:
            self._say(f"{name} cannot be read: {error.strerror}")
            return
        found.parts += 1
        found.bytes += size
        if (size, digest) != (part["bytes"], part["sha256"]):
            self._say(f"{name} is not the file that was written: its size or SHA-256 differs")
            return
        rows, first, last = 0, None, None
        try:
            for event in events_of(path, self._shape, is_empty=not part["bytes"]):
                rows += 1
                place = {"occurred_at": event.occurred_at, "event_id": event.event_id}
                first, last = first or place, place
                self._actions[event.action] += 1
                if event.account_id != self._account:
                    self._say(f"{name} holds an event of another account: {event.event_id}")
                ids.add(UUID(event.event_id))
        except (NotWhole, ValueError, KeyError, EOFError, OSError, pa.ArrowException) as error:
            self._say(f"{name} cannot be read as {self._shape.format}: {error}")
        found.rows += rows
        if self._progress is not None:
            self._progress(found.rows)
        if rows != part["rows"]:
            self._say(f"{name} holds {rows:,} events, the manifest says {part['rows']:,}")
        if (first, last) != (part["first"], part["last"]):
            self._say(f"{name} does not begin or end with the event that the manifest says")
        self._order(name, part)

    def _order(self, name: str, part: dict[str, Any]) -> None:
        """Parts follow each other in time."""
        if part["first"] is None:
            return
        if self._last is not None and datetime.fromisoformat(part["first"]["occurred_at"]) < self._last:
            self._say(f"{name} begins before the part before it ends")
        self._last = datetime.fromisoformat(part["last"]["occurred_at"])

    def _say(self, finding: str) -> None:
        if len(self._found.findings) < FINDINGS_MAX:
            self._found.findings.append(finding)


def events_of(path: Path, shape: Shape, *, is_empty: bool = False) -> Iterator[_Event]:
    """Yield the events of a part.

    Raises:
        NotWhole, ValueError, KeyError, OSError, pa.ArrowException: it is no such file.
    """
    if shape.format == "parquet":
        return _parquet_events(path)
    if is_empty:
        return iter(())
    return _csv_events(path, shape) if shape.format == "csv" else _json_events(path, shape)


def _opened(path: Path, shape: Shape) -> IO[bytes]:
    if shape.compression == "gzip":
        return gzip.open(path)  # type: ignore[return-value]
    if shape.compression == "zstd":
        raw: Any = pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")
        return io.BufferedReader(raw)
    return path.open("rb")


def _json_events(path: Path, shape: Shape) -> Iterator[_Event]:
    with _opened(path, shape) as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                raise NotWhole("its last line is not whole")
            event = json.loads(line)
            yield _Event(event["event_id"], event["account_id"], event["occurred_at"], event["action"])


def _csv_events(path: Path, shape: Shape) -> Iterator[_Event]:
    with io.TextIOWrapper(_opened(path, shape), "utf-8", newline="") as text:
        rows = csv.reader(text, strict=True)
        if tuple(next(rows, ())) != CSV_COLUMNS:
            raise NotWhole("its first line is not the header")
        at = [CSV_COLUMNS.index(name) for name in ("event_id", "account_id", "occurred_at", "action")]
        for row in rows:
            if len(row) != len(CSV_COLUMNS):
                raise NotWhole(f"a row has {len(row)} cells instead of {len(CSV_COLUMNS)}")
            yield _Event(*(row[index] for index in at))


def _parquet_events(path: Path) -> Iterator[_Event]:
    file = pq.ParquetFile(path)
    names = ["event_id", "account_id", "occurred_at", "action"]
    for number in range(file.num_row_groups):
        # Every column is read: a damaged one must be found.
        for batch in file.read_row_group(number).to_batches(max_chunksize=10_000):
            for row in batch.select(names).to_pylist():
                yield _Event(**{**row, "occurred_at": rfc3339(row["occurred_at"])})


def _hash(path: Path) -> tuple[int, str]:
    found, size = sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            found.update(piece)
            size += len(piece)
    return size, found.hexdigest()
