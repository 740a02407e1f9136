"""How far a job is, as its worker writes it down now and then."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        rows_done: events written so far, those of the part under way included.
        rows_expected: events in all; None before they were counted.
        bytes_done: of the files.
        parts_done: parts that are finished.
        rows_per_second: of the present worker.
        updated_at: RFC 3339.
        worker: who works on it.
        waiting: for what it waits, or empty.
    """

    rows_done: int = 0
    rows_expected: int | None = None
    bytes_done: int = 0
    parts_done: int = 0
    rows_per_second: float = 0.0
    updated_at: str = ""
    worker: str = ""
    waiting: str = ""

    @property
    def eta_seconds(self) -> float | None:
        """Return how long it will take at this rate; None when that is unknown."""
        if self.rows_expected is None or not self.rows_per_second or self.waiting:
            return None
        return round((self.rows_expected - self.rows_done) / self.rows_per_second, 1)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Progress:
        """Return what `to_json` made."""
        return cls(**data)
