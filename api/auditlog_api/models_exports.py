"""What the routes of exports answer, as models for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ExportAnswer(_Model):
    """An export and how it stands."""

    job_id: str
    account_id: str
    state: Literal["queued", "running", "cancelling", "finished", "failed", "cancelled"]
    created_at: datetime
    created_by: str
    format: Literal["csv", "jsonl", "parquet"]
    compression: Literal["none", "gzip", "zstd"]
    raw_csv: bool
    filter: Annotated[dict[str, Any], Field(description="what was asked for; empty is the whole log")]
    rows_done: int
    rows_expected: Annotated[int | None, Field(description="null before they were counted")]
    bytes_done: int
    parts_done: int
    rows_per_second: float
    eta_seconds: Annotated[float | None, Field(description="null when it is unknown")]
    waiting: Annotated[str, Field(description="for what the worker waits, or empty")]
    error: Annotated[str, Field(description="why it failed, or empty")]
    ended_at: datetime | None
    expires_at: Annotated[datetime | None, Field(description="from when on it may be deleted")]


class ExportsAnswer(_Model):
    """The exports of an account."""

    exports: list[ExportAnswer]


class ExportPlace(_Model):
    """An event's place in the log."""

    occurred_at: datetime
    event_id: str


class ExportPart(_Model):
    """A part, as the manifest has it."""

    part: int
    file: str
    rows: int
    bytes: int
    sha256: str
    head_bytes: Annotated[int, Field(description="of the CSV header, which one file of all parts has once")]
    first: ExportPlace | None
    last: ExportPlace | None
    actions: dict[str, int]


class ExportPartsAnswer(_Model):
    """Parts of an export."""

    parts: list[ExportPart]


class ExportLink(_Model):
    """A link to a part."""

    part: int
    file: str
    url: str


class ExportLinksAnswer(_Model):
    """Links to parts, good for some minutes, for whoever has them."""

    links: list[ExportLink]
