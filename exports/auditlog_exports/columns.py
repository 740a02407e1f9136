"""What ClickHouse is asked for, so that it writes the lines of CSV and JSON itself."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from auditlog_exports.job import Shape
from auditlog_storage.event_csv import CSV_COLUMNS
from auditlog_storage.formula import neutral_sql

LINE: Final = "line"
ROW_BYTES: Final = "row_bytes"

SETTINGS: Final[dict[str, int | str]] = {
    "format_csv_delimiter": ",",
    "format_csv_null_representation": "",
    "output_format_csv_crlf_end_of_line": 1,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_json_map_as_array_of_tuples": 0,
    "output_format_json_named_tuples_as_objects": 1,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_skip_null_value_in_named_tuples": 1,
    "date_time_output_format": "simple",
}
"""Of a stream with these columns."""


def _rfc3339(column: str) -> str:
    """Return SQL for what `auditlog_storage.moments.rfc3339` makes of a time: no zeros at the end."""
    text = f"trimRight(trimRight(toString({column}), '0'), '.')"
    return f"concat(replaceOne({text}, ' ', 'T'), 'Z')"


_NOTE: Final = "Nullable(String)"
_TIMES: Final = {"occurred_at": _rfc3339("occurred_at"), "received_at": _rfc3339("received_at")}

# In the order of `event_json`. Names of the members are those of the tuples.
_JSON: Final = ", ".join(
    f"{sql} AS {name}"
    for name, sql in {
        "event_id": "toString(event_id)",
        "account_id": "account_id",
        "occurred_at": _TIMES["occurred_at"],
        "action": "action",
        "action_version": "action_version",
        "entity": "CAST((entity_type, entity_id, entity_name), "
        f"'Tuple(type String, id String, name {_NOTE})')",
        "related": "related",
        "source": "CAST((source_service, source_instance_id, source_sequence), "
        "'Tuple(service String, instance_id String, sequence Int64)')",
        "actor": "CAST((actor_type, actor_id, actor_name, actor_email, actor_impersonator_id), "
        f"'Tuple(type String, id String, name {_NOTE}, email {_NOTE}, impersonator_id {_NOTE})')",
        "context": "CAST((ip, user_agent, request_id), "
        f"'Tuple(ip {_NOTE}, user_agent {_NOTE}, request_id {_NOTE})')",
        "changes": "changes",
        "metadata": "metadata",
        "received_at": _TIMES["received_at"],
        "kafka": "CAST((topic_id, kafka_partition, kafka_offset), "
        "'Tuple(topic_id UUID, partition Int32, offset Int64)')",
    }.items()
)

ABSENT: Final = (b',"related":[]', b',"context":{}', b',"changes":[]', b',"metadata":{}')
"""What `event_json` leaves out and ClickHouse writes.

None of these can stand anywhere but in its place: inside of a string the quotes are escaped, and
metadata, the one member whose names are not ours, holds strings only.
"""

# Columns of the view by other names in the table.
_RENAMED: Final = {
    "service": "source_service",
    "service_instance": "source_instance_id",
    "service_sequence": "source_sequence",
}
_NUMBERS: Final = {"action_version", "service_sequence", "kafka_partition", "kafka_offset"}
_NESTED: Final = {"related", "changes", "metadata"}
_UUIDS: Final = {"event_id", "topic_id"}

_TEXT: Final = pa.string()
_ENTITY: Final = pa.struct(
    [pa.field("type", _TEXT, False), pa.field("id", _TEXT, False), pa.field("name", _TEXT)]
)
_CHANGE: Final = pa.struct(
    [pa.field("field", _TEXT, False), pa.field("before", _TEXT), pa.field("after", _TEXT)]
)
_ARROW: Final[dict[str, pa.DataType]] = {
    "occurred_at": pa.timestamp("us", "UTC"),
    "received_at": pa.timestamp("ms", "UTC"),
    "action_version": pa.int32(),
    "related": pa.list_(pa.field("element", _ENTITY, False)),
    "service_sequence": pa.int64(),
    "changes": pa.list_(pa.field("element", _CHANGE, False)),
    "metadata": pa.map_(_TEXT, _TEXT),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
}
_MAYBE: Final = {
    *("entity_name", "actor_name", "actor_email", "actor_impersonator_id"),
    *("ip", "user_agent", "request_id"),
}

PARQUET_SCHEMA: Final = pa.schema(
    [pa.field(name, _ARROW.get(name, _TEXT), name in _MAYBE) for name in CSV_COLUMNS]
)
"""The columns of a Parquet file: those of CSV, with types."""

ROW_BYTES_BASE: Final = 400
"""What a row is taken to need beside what is nested in it."""


def selected(shape: Shape) -> str:
    """Return what to SELECT: the column `LINE`, or those of Parquet and `ROW_BYTES`."""
    if shape.format == "jsonl":
        return f"formatRow('JSONEachRow', {_JSON}) AS {LINE}"
    if shape.format == "csv":
        cells = ", ".join(_cell(name, raw=shape.raw_csv) for name in CSV_COLUMNS)
        return f"formatRow('CSV', {cells}) AS {LINE}"
    columns = [f"{_uuid_text(name)} AS {name}" for name in CSV_COLUMNS]
    return ", ".join([*columns, f"byteSize(related, changes, metadata) + {ROW_BYTES_BASE} AS {ROW_BYTES}"])


def _uuid_text(name: str) -> str:
    return f"toString({name})" if name in _UUIDS else _RENAMED.get(name, name)


def _cell(name: str, *, raw: bool) -> str:
    column = _RENAMED.get(name, name)
    if name in _TIMES:
        return _TIMES[name]
    if name in _NESTED:
        # JSON begins with a bracket or a brace: no formula.
        return f"if(empty({column}), NULL, toJSONString({column}))"
    if raw or name in _NUMBERS or name in _UUIDS:
        return _uuid_text(name)
    return neutral_sql(column)
