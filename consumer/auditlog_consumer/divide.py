"""Dividing a judged batch: which accepted messages are copies of an earlier event."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_consumer.judge import Verdicts
from auditlog_consumer.window import Keys, Window, keys_of


@dataclass(frozen=True, slots=True)
class Divided:
    """A judged batch without the copies of earlier events.

    Attributes:
        verdicts: the batch as it was judged.
        rows: its accepted messages, as `EVENT_ROWS`, in offset order.
        keys, offsets: the window's key and the Kafka offset of each of these rows.
        duplicate_offsets: messages that are copies of an accepted one, ascending.
    """

    verdicts: Verdicts
    rows: pa.RecordBatch
    keys: Keys
    offsets: npt.NDArray[np.int64]
    duplicate_offsets: tuple[int, ...]

    @property
    def dropped_offsets(self) -> Container[int]:
        """Return the offsets of messages that become no row: rejected or duplicate."""
        rejected = self.verdicts.rejected
        single = frozenset(self.duplicate_offsets).union(each.offset for each in rejected)
        return _Offsets(single, [each.span for each in rejected if each.offsets > 1])


@dataclass(frozen=True, slots=True)
class _Offsets:
    """Offsets, and stretches of offsets, of which there may be too many to be listed."""

    single: frozenset[int]
    stretches: Sequence[range]

    def __contains__(self, offset: object) -> bool:
        return offset in self.single or any(offset in stretch for stretch in self.stretches)


def divide(verdicts: Verdicts, window: Window, offsets_max: int) -> Divided:
    """Return the batch without the messages whose (account, event id) was accepted before.

    Before means within the last `offsets_max` offsets before the batch, or earlier in the batch.
    """
    rows = verdicts.rows
    keys = keys_of(rows.column("account_id"), rows.column("event_id"))
    offsets = rows.column("kafka_offset").to_numpy()
    copies = window.duplicates(keys, verdicts.first_offset, offsets_max)
    if not copies.any():
        return Divided(verdicts, rows, keys, offsets, ())
    kept = rows.filter(pa.array(~copies))
    return Divided(verdicts, kept, keys[~copies], offsets[~copies], tuple(offsets[copies].tolist()))
