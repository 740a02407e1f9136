"""The intent: a range announced before its rows are inserted, in the metadata of an offset commit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from auditlog_storage.tables import OFFSET_MAX

WINDOW_MAX: Final = 100_000_000


TROUBLE_BYTES_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Intent:
    """Rows of these offsets are about to be inserted as one block: whoever comes next does exactly that.

    The same range gives the same insert token, so an insert that arrives late and its repetition by the next
    owner are one insert for ClickHouse.

    Attributes:
        topic_id: of the topic's incarnation that the offsets belong to.
        first, last: the range, both ends included.
        window: over how many offsets before `first` duplicates were looked for.
        deadline_millis: until when the insert may begin, by ClickHouse's clock, since 1970-01-01 UTC.
        leader_epoch: of the leader that appended `last`; -1 when it is not known.
    """

    topic_id: UUID
    first: int
    last: int
    window: int
    deadline_millis: int
    leader_epoch: int = -1

    def to_metadata(self) -> str:
        """Return the commit's metadata: JSON of at most 200 bytes; Kafka allows 4,095."""
        fields = {
            "topic_id": str(self.topic_id),
            "first": self.first,
            "last": self.last,
            "window": self.window,
            "deadline_millis": self.deadline_millis,
            "leader_epoch": self.leader_epoch,
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_metadata(cls, metadata: str) -> Intent | None:
        """Return the intent that a commit's metadata holds; None when somebody else wrote it."""
        try:
            found: Any = json.loads(metadata)
            names = ("first", "last", "window", "deadline_millis", "leader_epoch")
            intent = cls(UUID(found["topic_id"]), *(found[name] for name in names))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        numbers = (intent.first, intent.last, intent.window, intent.deadline_millis)
        if type(intent.leader_epoch) is not int or not -1 <= intent.leader_epoch < 1 << 31:
            return None
        if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
            return None
        return intent if intent.first <= intent.last <= OFFSET_MAX and intent.window <= WINDOW_MAX else None


def with_trouble(metadata: str, trouble: str) -> str:
    """Return a commit's metadata with what stopped its partition beside the intent, if it holds one."""
    fields = _fields(metadata) if Intent.from_metadata(metadata) else {}
    cut = trouble.encode("utf-8", "replace")[:TROUBLE_BYTES_MAX].decode("utf-8", "ignore")
    # Escaped this may become six times as long, which still fits.
    return json.dumps({**fields, "trouble": cut}, separators=(",", ":"), ensure_ascii=False)


def trouble_of(metadata: str) -> str:
    """Return what stopped a partition, by its commit's metadata; empty when it is not stopped."""
    trouble = _fields(metadata).get("trouble")
    return trouble if isinstance(trouble, str) else ""


def _fields(metadata: str) -> dict[str, Any]:
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
