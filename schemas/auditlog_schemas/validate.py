"""Checking many events at once: the limits, the catalog, the clock.

The rules are those of `auditlog_schemas.rules` and `auditlog_schemas.catalog`, in the same order, and so are
the verdicts: the first broken rule of each event. Where a value breaks one, the one-by-one checks tell the
detail.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.limits import CLOCK_AHEAD_MAX_MICROS
from auditlog_schemas.rules import FIELD_RULES
from auditlog_schemas.validate_catalog import CatalogTables
from auditlog_schemas.validate_columns import EventColumns
from auditlog_schemas.validate_fields import broken_rows
from auditlog_schemas.verdicts import CATALOG_VERDICTS, CLOCK_VERDICT, FIELD_VERDICT_FIRST


class BatchValidator:
    """Validates decoded events against one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._tables = CatalogTables(catalog)

    def validate(
        self, batch: pa.RecordBatch, received_micros: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int16]:
        """Return a verdict for each row: an index into `auditlog_schemas.verdicts.VERDICTS`, 0 is good.

        Args:
            batch: n events as `auditlog_schemas.columnar_events.EventDecoder` gives them.
            received_micros: n Kafka timestamps, microseconds since 1970-01-01 UTC.
        """
        columns = EventColumns(batch)
        # From the last rule to the first, so that the first one's verdict stays.
        verdict = np.zeros(batch.num_rows, np.int16)
        ahead = columns.numbers("occurred_at") > received_micros + CLOCK_AHEAD_MAX_MICROS
        verdict[ahead] = CLOCK_VERDICT
        for rule, rows in reversed(list(self._tables.broken_rows(columns))):
            verdict[rows] = CATALOG_VERDICTS[rule]
        for number, field_rule in reversed(list(enumerate(FIELD_RULES))):
            verdict[broken_rows(field_rule, columns)] = FIELD_VERDICT_FIRST + number
        return verdict


def validate(
    batch: pa.RecordBatch, received_micros: npt.NDArray[np.int64], catalog: Catalog
) -> npt.NDArray[np.int16]:
    """Validate one batch; `BatchValidator` keeps what it works out of the catalog."""
    return BatchValidator(catalog).validate(batch, received_micros)
