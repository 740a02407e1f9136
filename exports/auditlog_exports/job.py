"""A job: which events of which account, in which form, as of when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.moments import rfc3339
from auditlog_storage.search import parse_search
from auditlog_storage.snapshot import Snapshot

Format: TypeAlias = Literal["csv", "jsonl", "parquet"]
Compression: TypeAlias = Literal["none", "gzip", "zstd"]

JOB_VERSION: Final = 1

_SUFFIXES: Final[dict[Compression, str]] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of an export's files.

    Attributes:
        format: of the files.
        compression: of CSV and JSON lines as a whole, of Parquet inside of the file, where zstd is the
            default and gzip can be had too.
        raw_csv: whether CSV cells that a spreadsheet would take for formulas are left as they are.

    Raises:
        BadFilter: these do not go together.
    """

    format: Format
    compression: Compression = "none"
    raw_csv: bool = False

    def __post_init__(self) -> None:
        if self.raw_csv and self.format != "csv":
            raise BadFilter("raw_csv: is for the format csv")

    @property
    def suffix(self) -> str:
        """Return how names of its files end, with the dot."""
        return f".{self.format}" + ("" if self.format == "parquet" else _SUFFIXES[self.compression])

    @property
    def media_type(self) -> str:
        """Return the media type of its files."""
        if self.compression != "none" and self.format != "parquet":
            return f"application/{self.compression}"
        types = {"csv": "text/csv", "jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}
        return types[self.format]

    def file_name(self, part: int) -> str:
        """Return the name of a part; parts count from 1."""
        return f"part-{part:05d}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as it was asked for; it never changes.

    Attributes:
        job_id: its name.
        account_id: whose events.
        filter: which of them; relative times in it count from `created_at`.
        shape: the form of its files.
        snapshot: which rows: those that the ledger had recorded when the job was made.
        created_at: aware UTC.
        created_by: who asked for it: a token's id, or user and host.
        part_rows_max, part_bytes_max: see `ExportSettings`; part of the job, because every worker must cut
            alike.
    """

    job_id: str
    account_id: str
    filter: EventFilter
    shape: Shape
    snapshot: Snapshot
    created_at: datetime
    created_by: str
    part_rows_max: int
    part_bytes_max: int

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON-like data."""
        return {
            "version": JOB_VERSION,
            "job_id": self.job_id,
            "account_id": self.account_id,
            "created_at": rfc3339(self.created_at),
            "created_by": self.created_by,
            **shape_json(self.shape),
            "filter": filter_json(self.filter),
            "part_rows_max": self.part_rows_max,
            "part_bytes_max": self.part_bytes_max,
            "snapshot": snapshot_json(self.snapshot),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Job:
        """Return the job of `to_json`."""
        return cls(
            data["job_id"],
            data["account_id"],
            filter_from_json(data["filter"]),
            Shape(data["format"], data["compression"], data["raw_csv"]),
            snapshot_from_json(data["snapshot"]),
            datetime.fromisoformat(data["created_at"]),
            data["created_by"],
            data["part_rows_max"],
            data["part_bytes_max"],
        )


def shape_json(shape: Shape) -> dict[str, Any]:
    """Return a shape as JSON-like data."""
    return {"format": shape.format, "compression": shape.compression, "raw_csv": shape.raw_csv}


def filter_json(filter: EventFilter) -> dict[str, Any]:
    """Return a filter as JSON-like data; what does not restrict is left out."""
    search = filter.search
    whole: dict[str, Any] = {
        "actions": list(filter.actions),
        "groups": list(filter.groups),
        "actor_id": filter.actor_id,
        "entity_type": filter.entity_type,
        "entity_id": filter.entity_id,
        "item": {"type": filter.item.type, "id": filter.item.id} if filter.item else None,
        "since": rfc3339(filter.since) if filter.since else None,
        "until": rfc3339(filter.until) if filter.until else None,
        "ip": filter.ip,
        "request_id": filter.request_id,
        "search": search.text if search else None,
        "search_now": rfc3339(search.now) if search and search.now else None,
    }
    return {name: value for name, value in whole.items() if value not in (None, [], "")}


def filter_from_json(data: dict[str, Any]) -> EventFilter:
    """Return the filter of `filter_json`."""
    given = dict(data)
    now = given.pop("search_now", None)
    search = given.pop("search", None)
    for name in ("actions", "groups"):
        given[name] = tuple(given.get(name, ()))
    for name in ("since", "until"):
        if name in given:
            given[name] = datetime.fromisoformat(given[name])
    if "item" in given:
        given["item"] = Item(**given["item"])
    if search is not None:
        given["search"] = parse_search(search, datetime.fromisoformat(now or "2000-01-01T00:00:00+00:00"))
    return EventFilter(**given)


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as JSON-like data: for each topic the end of each of its partitions."""
    topics: dict[str, dict[str, int]] = {}
    for (topic_id, partition), end in sorted(snapshot.ends.items()):
        topics.setdefault(str(topic_id), {})[str(partition)] = end
    return {"next_offsets": topics, "closed_topics": sorted(str(each) for each in snapshot.closed)}


def snapshot_from_json(data: dict[str, Any]) -> Snapshot:
    """Return the snapshot of `snapshot_json`."""
    ends = {
        (UUID(topic_id), int(partition)): end
        for topic_id, partitions in data["next_offsets"].items()
        for partition, end in partitions.items()
    }
    return Snapshot(ends, frozenset(UUID(each) for each in data["closed_topics"]))
