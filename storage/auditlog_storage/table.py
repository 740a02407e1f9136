"""A table as data: its columns in both type systems, its engine and settings, and the DDL they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: its name in ClickHouse and in Arrow.
        type: the ClickHouse type.
        arrow: the Arrow type in which batches bring it; None for a column that the server computes.
        nullable: whether Arrow may bring nulls.
        codec: compression, for example ``ZSTD(1)``; empty for the server's default.
        materialized: the expression that computes it; empty for a column that is inserted.
    """

    name: str
    type: str
    arrow: pa.DataType | None = None
    nullable: bool = False
    codec: str = ""
    materialized: str = ""

    def definition(self) -> str:
        """Return the column's line in CREATE TABLE."""
        materialized = f" MATERIALIZED {self.materialized}" if self.materialized else ""
        codec = f" CODEC({self.codec})" if self.codec else ""
        return f"{quoted(self.name)} {self.type}{materialized}{codec}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table. Replicated engines or other settings are a `dataclasses.replace` away.

    Attributes:
        engine: engine with its arguments, for example ``MergeTree``.
        extras: constraints, skip indexes and projections, one clause each.
        settings: table settings that differ from the server's defaults.
    """

    name: str
    columns: tuple[Column, ...]
    engine: str
    order_by: str
    partition_by: str = ""
    extras: tuple[str, ...] = ()
    settings: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def rows(self) -> pa.Schema:
        """Return the Arrow schema of the insertable columns, in order."""
        return pa.schema(
            [pa.field(column.name, column.arrow, column.nullable) for column in self.columns if column.arrow]
        )

    def create(self) -> str:
        """Return the CREATE TABLE IF NOT EXISTS statement."""
        return self._statement(f"CREATE TABLE IF NOT EXISTS {quoted(self.name)}")

    def replace(self, select: str) -> str:
        """Return a statement that replaces the table and its rows at once by the result of `select`."""
        return f"{self._statement(f'CREATE OR REPLACE TABLE {quoted(self.name)}')}\nAS {select}"

    def _statement(self, head: str) -> str:
        body = ",\n    ".join((*(column.definition() for column in self.columns), *self.extras))
        lines = [f"{head} (\n    {body}\n)", f"ENGINE = {self.engine}"]
        if self.partition_by:
            lines.append(f"PARTITION BY {self.partition_by}")
        lines.append(f"ORDER BY {self.order_by}")
        if self.settings:
            lines.append(f"SETTINGS {assignments(self.settings)}")
        return "\n".join(lines)


def quoted(name: str) -> str:
    """Return a name as a ClickHouse identifier in backquotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def assignments(settings: Mapping[str, int | str]) -> str:
    """Return settings as SETTINGS and MODIFY SETTING take them."""
    return ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())


def literal(value: int | str) -> str:
    """Return a value as a ClickHouse literal, for statements that take no parameters."""
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
