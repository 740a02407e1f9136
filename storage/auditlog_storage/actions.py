"""The table `audit_actions`: the catalog as analysts join it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa

from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.table import quoted
from auditlog_storage.tables import AUDIT_ACTIONS

_STAGING: Final = "audit_actions_staging_"

_STORED: Final = """
    SELECT action, action_group, entity_type, entity_title, kind, sentence, version, catalog_version
    FROM audit_actions ORDER BY action
"""

_ABANDONED: Final = """
    SELECT name FROM system.tables
    WHERE database = currentDatabase() AND startsWith(name, {prefix:String})
      AND metadata_modification_time < now() - INTERVAL 1 HOUR
"""


def publish_actions(connection: Connection, catalog: Catalog) -> bool:
    """Make `audit_actions` hold exactly the catalog's actions; return whether it had to change.

    Readers see the old rows or the new ones, never a mixture or an empty table. Of two callers at once
    the last one's catalog stays.
    """
    wanted = action_rows(catalog)
    if [
        dict(zip(AUDIT_ACTIONS.rows.names, row, strict=True)) for row in connection.query_rows(_STORED)
    ] == wanted:
        return False
    staging = replace(AUDIT_ACTIONS, name=_STAGING + uuid4().hex)
    connection.command(staging.create())
    try:
        batch = pa.RecordBatch.from_pylist(wanted, schema=AUDIT_ACTIONS.rows)
        if wanted:
            connection.insert_batch(staging.name, batch, token=None)
        connection.command(f"EXCHANGE TABLES {quoted(AUDIT_ACTIONS.name)} AND {quoted(staging.name)}")
    finally:
        connection.command(f"DROP TABLE IF EXISTS {quoted(staging.name)}")
    _drop_abandoned(connection)
    return True


def action_rows(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the rows that `audit_actions` should hold, by action."""
    return [
        {
            "action": action.name,
            "action_group": action.group,
            "entity_type": action.entity_type,
            "entity_title": catalog.entity_types[action.entity_type].title,
            "kind": action.kind,
            "sentence": action.sentence,
            "version": action.version,
            "catalog_version": catalog.version,
        }
        for action in sorted(catalog.actions.values(), key=lambda action: action.name.encode())
    ]


def _drop_abandoned(connection: Connection) -> None:
    # Left behind by a caller that died between making its staging table and dropping it.
    for (name,) in connection.query_rows(_ABANDONED, {"prefix": _STAGING}):
        connection.command(f"DROP TABLE IF EXISTS {quoted(name)}")
