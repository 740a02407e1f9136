"""Reading files of further writers' schemas: older or newer versions of the event's."""

from __future__ import annotations

import json
from pathlib import Path

from auditlog_schemas.bad_setting import read_file
from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.errors import ConfigError, SchemaIncompatible
from auditlog_schemas.resolution import Schema, resolve


def read_schema_file(path: Path) -> Schema:
    """Return the schema in a file, with which messages can be read as events.

    Raises:
        ConfigError: the file cannot be read, is not JSON, or is no such schema; the message names the file.
    """
    try:
        schema: Schema = json.loads(read_file("schema file", path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"schema file {path}: is not JSON: {error}") from error
    try:
        resolve(schema, EVENT_SCHEMA)
    except SchemaIncompatible as error:
        raise ConfigError(
            f"schema file {path}: events cannot be read by it: {error}; see docs/wire-format.md, "
            "'A schema of your own'"
        ) from error
    return schema
