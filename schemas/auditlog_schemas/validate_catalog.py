"""The catalog over whole columns: its actions as tables that rows look themselves up in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from auditlog_schemas.catalog import Action, Catalog
from auditlog_schemas.validate_columns import EventColumns, Flags, Longs, Strings

_pc: Any = pc


class CatalogTables:
    """A catalog's actions by number; the number -1 stands for what the catalog does not know.

    Every table has one more row at its end, which that -1 finds.
    """

    def __init__(self, catalog: Catalog) -> None:
        actions = list(catalog.actions.values())
        self._actions = pa.array([action.name for action in actions], pa.string())
        self._entity_types = pa.array(list(catalog.entity_types), pa.string())
        numbers = {name: number for number, name in enumerate(catalog.entity_types)}
        self._version = np.array([*(action.version for action in actions), 0])
        self._entity_type = np.array([*(numbers[action.entity_type] for action in actions), -2])
        self._needs_changes = np.array([*(action.changes_required for action in actions), False])
        self._metadata = _requirements(actions, "required_metadata")
        self._related = _requirements(actions, "required_related")

    def broken_rows(self, columns: EventColumns) -> Iterator[tuple[str, Longs]]:
        """Yield each rule of `CATALOG_RULES`, in order, with the rows that break it.

        Rows that broke an earlier rule may be named again by a later one.
        """
        action = _numbers(columns.strings("action"), self._actions)
        yield "unknown_action", np.flatnonzero(action < 0)
        newer = columns.numbers("action_version") > self._version[action]
        yield "unknown_action_version", np.flatnonzero(newer)
        entity_type = _numbers(columns.strings("entity.type"), self._entity_types)
        yield "wrong_entity_type", np.flatnonzero(entity_type != self._entity_type[action])
        without = self._needs_changes[action] & (columns.counts("changes") == 0)
        yield "changes_missing", np.flatnonzero(without)
        keys = columns.strings("metadata{key}")
        yield "metadata_missing", _lacking(self._metadata, action, keys)
        related = columns.strings("related[].type")
        yield "related_missing", _lacking(self._related, action, related)
        unknown = np.flatnonzero(_numbers(related, self._entity_types) < 0)
        yield "unknown_related_type", related.rows_at(unknown)


def _requirements(actions: list[Action], attribute: str) -> dict[str, Flags]:
    """Return, for each name that some action requires, which actions do."""
    names = {name for action in actions for name in getattr(action, attribute)}
    return {
        name: np.array([*(name in getattr(action, attribute) for action in actions), False])
        for name in sorted(names)
    }


def _numbers(strings: Strings, known: pa.StringArray) -> npt.NDArray[np.int64]:
    """Return the place of each string among the known ones, -1 for one that is not there."""
    found = _pc.index_in(strings.column, value_set=known)
    return found.fill_null(-1).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _lacking(required: dict[str, Flags], action: Longs, items: Strings) -> Longs:
    """Return the rows whose action requires an item that they do not have."""
    needing = {name: flags[action] for name, flags in required.items()}
    needing = {name: rows for name, rows in needing.items() if rows.any()}
    if not needing:
        return np.empty(0, np.int64)
    numbers = _numbers(items, pa.array(list(needing), pa.string()))
    lacking = np.zeros(len(action), np.bool_)
    for number, rows in enumerate(needing.values()):
        having = np.zeros(len(action), np.bool_)
        having[items.rows_at(np.flatnonzero(numbers == number))] = True
        lacking |= rows & ~having
    return np.flatnonzero(lacking)
