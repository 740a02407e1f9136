"""Events of the audit log itself among others, over whole columns: which they are, and without signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from auditlog_schemas.own_actions import OWN_PREFIX, SIGNATURE

_pc: Any = pc
_MapArray: Any = pa.MapArray


def own_rows(events: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the rows whose action is the audit log's own."""
    own = _pc.starts_with(events.column("action"), OWN_PREFIX)
    return np.flatnonzero(own) if own.true_count else np.empty(0, np.int64)


def without_signatures(events: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Return the events with the signature taken out of the metadata of these rows."""
    if not len(rows):
        return events
    metadata: Any = events.column("metadata")
    offsets, keys = metadata.offsets.to_numpy(), metadata.keys
    owned = np.zeros(events.num_rows, np.bool_)
    owned[rows] = True
    kept = np.ones(len(keys), np.bool_)
    inside = slice(offsets[0], offsets[-1])
    signatures = _pc.equal(keys.cast(pa.string()), SIGNATURE).to_numpy(zero_copy_only=False)
    kept[inside] = ~(signatures[inside] & np.repeat(owned, np.diff(offsets)))
    places = np.concatenate(([0], np.cumsum(kept)))[offsets].astype(np.int32)
    keep = pa.array(kept)
    changed = _MapArray.from_arrays(
        pa.array(places), keys.filter(keep), metadata.items.filter(keep), metadata.type
    )
    return events.set_column(
        events.schema.get_field_index("metadata"), events.schema.field("metadata"), changed
    )
